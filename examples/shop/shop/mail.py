"""Letters to customers; of these functions most are not needed any more."""

from __future__ import annotations


def confirmation(customer: str, total: float) -> str:
    """What is sent when an order is taken."""
    return f"Dear {customer}, your order of {total:.2f} EUR is on its way."


def reminder(customer: str, total: float, days: int) -> str:
    """What is sent when nobody has paid."""
    return f"Dear {customer}, {total:.2f} EUR have been due for {days} days."


def newsletter(customers: list[str]) -> list[str]:
    """What was sent every month, until somebody complained."""
    return [greeting(each) + " Tea is cheaper this week." for each in customers]


def greeting(customer: str) -> str:
    """The first words of a letter."""
    return f"Dear {customer},"
