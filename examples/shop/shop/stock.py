"""What is there, and what is not."""

from __future__ import annotations

from snapshot.replay import record


class OutOfStock(Exception):
    """Too little of something is there."""


class Stock:
    """How many of each thing there are."""

    def __init__(self, counts: dict[str, int]) -> None:
        self.counts = counts

    @record
    def reserve(self, item: str, count: int) -> int:
        """Take some away; how many are left. Raises `OutOfStock`."""
        left = self.counts.get(item, 0) - count
        if left < 0:
            raise OutOfStock(f"{count} x {item} were ordered, and {self.counts[item]} are there")
        self.counts[item] = left
        return left

    def restock(self, item: str, count: int) -> None:
        """Some more have come."""
        self.counts[item] = self.counts.get(item, 0) + count

    def audit(self) -> list[str]:
        """What has run out."""
        return [item for item, count in self.counts.items() if not count]
