"""Orders: from a basket to what is to be paid."""

from __future__ import annotations

from shop import mail, prices
from shop.stock import Stock
from snapshot.replay import record


@record
def checkout(stock: Stock, customer: dict[str, object], basket: dict[str, int]) -> float:
    """Take an order; what is to be paid. Raises `OutOfStock`, and nothing is taken then."""
    total = prices.subtotal(basket)
    total -= prices.discount(total, int(str(customer["orders"])))
    total += prices.tax(total, str(customer["country"]))
    before = dict(stock.counts)
    try:
        for item, count in basket.items():
            stock.reserve(item, count)
    except Exception:
        stock.counts = before
        raise
    customer["orders"] = int(str(customer["orders"])) + 1
    mail.confirmation(str(customer["name"]), total)
    return round(total, 2)


def cancel(stock: Stock, basket: dict[str, int]) -> None:
    """Put back what an order has taken."""
    for item, count in basket.items():
        stock.restock(item, count)


def export(orders: list[float]) -> str:
    """The orders as the old accounting wanted them."""
    return "\n".join(f"{number};{total:.2f}" for number, total in enumerate(orders, 1))
