"""What forks, snapshots and calls cost, as ratios to the bare system calls or to peers."""
