"""Processes: forking them, waiting for them, and what must be put back around a fork."""
