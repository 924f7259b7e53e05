"""What stands for values that were not stored, where a call is made with it."""

from __future__ import annotations

import threading
from types import FunctionType
from typing import Any

from snapshot.pickling import FindClass
from snapshot.replay.programs import found_by_name
from snapshot.replay.reaching import reached
from snapshot.store.objects import Placeholder


class Standins:
    """Finds classes for an unpickler, and sees what stands for something: see `pickling.load`.

    A new lock comes into being in the place of a lock. What stands for something that is redacted
    is remembered.
    """

    def __init__(self, find_class: FindClass | None) -> None:
        self._find_class = find_class or found_by_name
        self._redacted: list[Placeholder] = []

    def __call__(self, module: str, name: str) -> Any:
        if (module, name) == (Placeholder.__module__, Placeholder.__name__):
            return self._made
        return self._find_class(module, name)

    def _made(self, kind: str, reason: str, text: str) -> Any:
        found = Placeholder(kind, reason, text)
        make = {"_thread.lock": threading.Lock, "_thread.RLock": threading.RLock}.get(kind)
        if make is not None:
            return _Lock(make(), found)
        if "redacted" in reason:
            self._redacted.append(found)
        return found

    def hidden_in(self, value: object) -> bool:
        """Whether a value holds something that is redacted."""
        if not self._redacted:
            return False
        hidden = {id(each) for each in self._redacted}
        return any(id(each) in hidden for each in reached([value], _is_entered))


def _is_entered(value: object) -> bool:
    return not issubclass(type(value), type | FunctionType)


class _Lock:
    """A new lock in the place of one that was not stored. Pickled, it is not stored either."""

    def __init__(self, lock: Any, then: Placeholder) -> None:
        self._lock, self._then = lock, then
        self.acquire, self.release = lock.acquire, lock.release

    def locked(self) -> bool:
        return bool(self._lock.locked())

    def __enter__(self) -> Any:
        return self._lock.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._lock.__exit__(*error)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._then.__reduce__()
