"""Which stored results go first when a group is full."""

from __future__ import annotations

from abc import ABC, abstractmethod

from snapshot.store.results import Entry

__all__ = ["LRU", "Entry", "GreedyDualSize", "ReplacementPolicy"]


class ReplacementPolicy(ABC):
    """Says what a stored result is worth. Those of the least worth are evicted first.

    An instance remembers nothing: what it says depends on what it is given, so that all processes
    that share a group agree.
    """

    @abstractmethod
    def worth(self, entry: Entry, floor: float) -> float:
        """What an entry is worth, asked for when it is stored and each time that it is used.

        floor: the greatest worth of those that have been evicted so far; 0.0 before the first.
        """


class GreedyDualSize(ReplacementPolicy):
    """The seconds that a byte saves, and a head start over what has been evicted by then.

    Greedy-Dual-Size, of Pei Cao and Sandy Irani, "Cost-Aware WWW Proxy Caching Algorithms", USENIX
    Symposium on Internet Technologies and Systems, 1997. What is small and took long stays; what
    nobody uses any more is overtaken by what came later, as the floor rises.
    """

    def worth(self, entry: Entry, floor: float) -> float:
        return floor + entry.cost / max(entry.size, 1)


class LRU(ReplacementPolicy):
    """What was used least recently goes first, whatever it cost."""

    def worth(self, entry: Entry, floor: float) -> float:
        return entry.used
