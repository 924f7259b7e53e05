"""A day at the shop: customers order until the stock is gone.

snapshot heat run day.py
snapshot web --open
"""

from __future__ import annotations

import random

from shop import prices
from shop.orders import checkout
from shop.stock import OutOfStock, Stock

random.seed(4)
stock = Stock({"tea": 120, "coffee": 80, "cup": 30, "kettle": 6})
customers: list[dict[str, object]] = [
    {"name": name, "country": country, "orders": before}
    for name, country, before in (("Ada", "DE", 7), ("Grace", "AT", 0), ("Tim", "CH", 3))
]
sold: list[int] = []
refused = 0
for _ in range(40):
    basket = {item: random.randint(1, 4) for item in random.sample(sorted(prices.PRICES), 2)}
    try:
        checkout(stock, random.choice(customers), basket)
    except OutOfStock:
        refused += 1
    else:
        sold.append(sum(basket.values()))
for window in range(5, len(sold), 5):
    prices.forecast(tuple(sold[window - 5 : window]), 7)
print(f"{len(sold)} orders, {refused} refused; out of {', '.join(stock.audit()) or 'nothing'}")
