"""The explorer: calls, heat, memo and live timelines in a browser."""
