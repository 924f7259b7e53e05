"""Memo: reuse a stored result while the code, its surroundings and the arguments are the same."""
