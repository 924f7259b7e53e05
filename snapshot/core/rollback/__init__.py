"""What becomes of files: positions are put back, and directories may be under an overlay."""
