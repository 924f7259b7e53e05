"""Something to travel in: see travel.console, a session with it in snapshot-repl."""

import random
import sqlite3

random.seed(1)
database = sqlite3.connect(":memory:")
database.execute("create table sales (item, count)")
stock = {"apples": 100, "pears": 40}


def sell(item: str, count: int) -> int:
    """Sell some, and write it down. Returns how many are left."""
    database.execute("insert into sales values (?, ?)", (item, count))
    stock[item] -= count
    return stock[item]


def sales() -> list[tuple[str, int]]:
    return database.execute("select * from sales").fetchall()
