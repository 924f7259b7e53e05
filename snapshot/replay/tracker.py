"""A store by the session: the history of calls, and the values in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType
from typing import Any

from snapshot.errors import UnknownObject, UsageError
from snapshot.replay.executions import number_of, take_in
from snapshot.replay.reanimation import Reanimation, Request
from snapshot.store import Store


class Session:
    """An open store. Close it when you are done, or use it as a context."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def init_db(db_path: str | os.PathLike[str] | None = None) -> Callable[[], Session]:
    """A factory of sessions: `Session = init_db(path); session = Session()`.

    db_path: a file, or a `postgresql://` URL; None is the default of `record`. A store is made
    where there is none. Raises `UsageError`, `StoreError`.
    """
    Store(db_path, create=True).close()

    def session() -> Session:
        store = Store(db_path)
        take_in(store)
        return Session(store)

    return session


class FunctionCallTracker:
    """The recorded calls of a store."""

    def __init__(self, session: Session) -> None:
        self._store = session.store

    def get_call_history(self, name: str | None = None) -> list[str]:
        """The ids of the calls, the oldest first.

        name: of the function, `f`, `Class.f`, or its key, `module:f`; None is all calls.
        """
        return [str(number) for number in self._store.calls.ids(name)]

    def get_call(self, id: int | str) -> dict[str, Any]:
        """What is known of a call.

        Of these, `args` (a list), `kwargs` (by name), `result` and `after` have references, which
        `ObjectManager` takes: `id`, `function` (its key), `version`, `parent` (an id or None),
        `args`, `kwargs`, `result`, `after`, `outcome`, `exception`, `traceback`, `started`
        (seconds since 1970), `duration` (seconds), `thread`, `process` (its id), `host`,
        `session`. Nothing is loaded.

        Raises `UnknownCall`, `UsageError`.
        """
        call = self._store.calls.get(number_of(id))
        args, kwargs = self._store.calls.arguments(call)
        failure = call.failure
        return {
            "id": str(call.id),
            "function": call.function.key,
            "version": call.function.digest.hex(),
            "parent": None if call.parent is None else str(call.parent),
            "args": [f"{call.id}:args:{n}" for n in range(len(args))],
            "kwargs": {name: f"{call.id}:kwargs:{name}" for name in kwargs},
            "result": None if call.result is None else f"{call.id}:result",
            "after": None if call.after is None else f"{call.id}:after",
            "outcome": call.outcome.name,
            "exception": None if failure is None else f"{failure.type}: {failure.text}",
            "traceback": None if failure is None else failure.traceback,
            "started": call.started,
            "duration": call.duration,
            "thread": call.thread,
            "process": call.process.facts["pid"],
            "host": call.process.facts["host"],
            "session": call.process.session,
        }


class ObjectManager:
    """The values of a store, by the references that `get_call` gives, or by their digests."""

    def __init__(self, session: Session) -> None:
        self._store = session.store
        self._got: dict[str, Any] = {}

    def get(self, reference: str) -> Any:
        """The value; asked again, the same one. See `rehydrate`."""
        if reference not in self._got:
            self._got[reference] = self.rehydrate(reference)
        return self._got[reference]

    def rehydrate(self, reference: str) -> Any:
        """The value, loaded anew. Loading runs code that its pickle names.

        Raises `UnknownCall`, `UnknownObject`, `DamagedObject`, `NotPicklable`, `NotTrusted`.
        """
        number, _, part = str(reference).partition(":")
        if not part:
            return self._store.objects.get(_digest(number))
        return self._part(reference, number, *part.partition(":")[::2])

    def _part(self, reference: str, number: str, part: str, name: str) -> Any:
        call = self._store.calls.get(number_of(number))
        reanimation = Reanimation(self._store, call, Request())
        if part in ("result", "after") and not name:
            stored = call.result if part == "result" else call.after
            if stored is not None:
                return reanimation.loaded(stored)
        elif part in ("args", "kwargs"):
            args, kwargs = reanimation.arguments()
            if part == "args" and name.isdecimal() and int(name) < len(args):
                return args[int(name)]
            if part == "kwargs" and name in kwargs:
                return kwargs[name]
        raise UnknownObject(
            f"{number}:{part}:{name} is no value of call {number}".replace("::", ":")
        )


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UsageError(
            f"{text!r} refers to no value: give a reference that get_call has given, or a digest"
        ) from None
