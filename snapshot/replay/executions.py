"""Recorded calls by their ids: loaded, made again, deleted."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from snapshot import pickling
from snapshot.core.disposable import fork_call
from snapshot.core.rollback.wanted import Paths
from snapshot.errors import NotPicklable, UnknownCall, UsageError
from snapshot.replay import recorder
from snapshot.replay.reanimation import Reanimated, Reanimation, Request
from snapshot.replay.restoring import Args, Kwargs
from snapshot.store import Store
from snapshot.store.objects import Placeholder, text_of, type_name

Where = str | os.PathLike[str] | Store | None
Debug = Callable[[Callable[[], Any]], Any]


@contextmanager
def opened(where: Where, *, trust: bool = False) -> Iterator[Store]:
    """A store, with what processes have recorded for it until now. Raises `StoreError`."""
    if isinstance(where, Store):
        take_in(where)
        yield where
        return
    with Store(where, trust=trust) as store:
        take_in(store)
        yield store


def take_in(store: Store) -> None:
    """Take in what was recorded; what is left out is said once. Raises `StoreError`."""
    for each in store.catch_up():
        print(f"snapshot: {each}", file=sys.stderr)


def number_of(function_execution_id: int | str) -> int:
    """The id of a call, as people write it. Raises `UsageError` for what can be none."""
    text = str(function_execution_id).strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 19) or isinstance(
        function_execution_id, bool
    ):
        raise UsageError(f"{function_execution_id!r} is no id of a call: give a number from 1")
    return int(text)


def load_execution_data(
    function_execution_id: int | str, db_path: Where = None
) -> tuple[Args, Kwargs]:
    """What a recorded call was called with: positional arguments and keywords.

    db_path: the store, a file or a `postgresql://` URL; None is the default of `record`. Loading
    runs code that the stored pickles name: see `Store`. A value that could not be stored is a
    `Placeholder`.

    Raises `UnknownCall`, `UsageError`, `NoStore`, `NotTrusted`, `DamagedObject`, `NotPicklable`
    where a class is not to be found here, `CannotReanimate` where nothing was stored.
    """
    with opened(db_path) as store:
        call = store.calls.get(number_of(function_execution_id))
        return Reanimation(store, call, Request()).arguments()


def reanimate_function(
    function_execution_id: int | str,
    db_path: Where = None,
    import_path: str | os.PathLike[str] | None = None,
    *,
    fork: bool = True,
    timeout: float | None = None,
    memory: int | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    recorded_code: bool = False,
    mock: str | Sequence[str] = (),
    files: Paths | None = None,
    compare: bool = False,
    debug: bool | Debug = False,
) -> Any:
    """Make a recorded call again, in a disposable fork, and return what it returns.

    Of a generator, that is a list of what it yields; a coroutine is awaited. The module of the
    function is imported in the fork if it was not here; one that was is not executed again. A
    function of a script is made from that file, without running its body. The globals and cells
    that were recorded are put in place; the working directory is that of then, if it is still
    there. This process is left as it was.

    function_execution_id, db_path: as for `load_execution_data`.
    import_path: a directory where modules are looked for first; those of the recording process
        come last.
    fork: False makes the call here, with all that this changes; only the globals and the working
        directory are put back. A global that was changed in place is another object than the one
        that other modules have.
    timeout, memory, files: see `fork_call`.
    overrides: values for parameters and cells, for what goes into `**kwargs`, or else for globals,
        by name.
    recorded_code: run the source that was recorded, among what is there now.
    mock: functions (by key, or the end of one) whose recorded calls within this one are answered
        with what they returned then.
    compare: return a `Reanimated`, which has value, error, output and the differences to what was
        recorded. Of a value that cannot be brought back from the fork it has a `Placeholder`.
    debug: make the call under a debugger: True is pdb, at its first line. Else something that is
        called with what makes the call.

    Raises what the call raises. Raises what `load_execution_data` and `fork_call` raise, and
    `CannotReanimate` where the function is not there any more (`FunctionNotFound`) or does not
    take these arguments.
    """
    number = number_of(function_execution_id)
    names = (mock,) if isinstance(mock, str) else tuple(mock)
    request = Request(import_path, overrides, recorded_code, names, _debugger(debug), not fork)
    if not fork and not (timeout is memory is files is None):
        raise UsageError("timeout, memory and files need a fork: leave fork=True")
    with opened(db_path) as store:
        reanimation = Reanimation(store, store.calls.get(number), request)
        make = reanimation.compared if compare else reanimation.run
        if not fork:
            with recorder.paused():
                return make()
        alone = _Alone(reanimation.call.function.key, make)
        store.rest()
        if debug or not compare:  # a debugger needs the terminal
            return fork_call(alone, timeout=timeout, memory=memory, files=files)
        value, stdout, stderr = fork_call(
            alone, timeout=timeout, memory=memory, files=files, capture=True
        )
        assert isinstance(value, Reanimated)
        value.output = (stdout + stderr).decode(errors="backslashreplace")
        return value


class _Alone:
    """Makes a call in the fork, which is told of by the name of the function."""

    def __init__(self, key: str, make: Callable[[], Any]) -> None:
        self.__qualname__ = key
        self._make = make

    def __call__(self) -> Any:
        with recorder.paused():
            found = self._make()
        return _brought_back(found) if isinstance(found, Reanimated) else found


def _brought_back(found: Reanimated) -> Reanimated:
    """With something in the place of what another process cannot have."""
    for name, value in (("value", found.value), ("error", found.error)):
        try:
            pickling.load(*pickling.dump(value))
        except NotPicklable as problem:
            instead: object = Placeholder(type_name(value), str(problem), text_of(value))
            if name == "error":
                instead = NotPicklable(f"{text_of(value)} was raised: {problem}")
            setattr(found, name, instead)
    return found


def _debugger(debug: bool | Debug) -> Debug | None:
    if debug is True:
        return _in_pdb
    return debug or None


def _in_pdb(make: Callable[[], Any]) -> Any:
    import pdb

    return pdb.runcall(make)


def delete_function_execution(function_execution_id: int | str, db_path: Where = None) -> bool:
    """Delete a recorded call, and the values that nothing else refers to.

    False where there is no such call. Raises `UsageError`, `NoStore`, `StoreError`.
    """
    with opened(db_path) as store:
        try:
            call = store.calls.get(number_of(function_execution_id))
        except UnknownCall:
            return False
        return store.delete([call.id]) == 1
