"""A program that writes to a database: in an experiment it goes through every step but that."""

from __future__ import annotations

import sqlite3

from snapshot import in_snapshot, revert, root_only, snapshot

stock = {"apples": 100, "pears": 40}
database = sqlite3.connect(":memory:")
database.execute("CREATE TABLE sales (item TEXT, count INTEGER)")


def pretend(item: str, count: int) -> None:
    """What an experiment does instead."""
    print(f"  (not recorded: {count} {item})")


@root_only(otherwise=pretend)
def record(item: str, count: int) -> None:
    """Commit a sale, for good."""
    with database:
        database.execute("INSERT INTO sales VALUES (?, ?)", (item, count))


def sell(item: str, count: int) -> None:
    """Take it off the shelf and record it."""
    stock[item] -= count
    record(item, count)
    print(f"{'experiment' if in_snapshot() else 'original'}: sold {count} {item}, {stock} left")


sell("apples", 1)
if snapshot("what if"):
    sell("apples", 99)
    sell("pears", 40)
    revert()
sell("pears", 2)
print("in the database:", database.execute("SELECT * FROM sales").fetchall())
