"""`start`: from here on it is known which functions of the application run.

Each process sums in memory. Every second a thread takes the sums, and every few seconds it writes
them; they are written, too, when the process ends, in whatever way it can notice. In mode
`activity` Python is asked then to tell of each function once more: nobody but a thread could do
that, since nothing is told of a program all of whose functions are known. So that no fork is one of
a process with threads, ours ends before, and goes on with the next call of a function.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import current_process
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

from snapshot.core.messages import say
from snapshot.errors import SnapshotError, StoreError, UsageError
from snapshot.heat.counting import Counter, Counting
from snapshot.heat.inventory import Inventory, functions_in
from snapshot.heat.rootmarker import RootMarker, find
from snapshot.heat.sending import Sender, revision
from snapshot.store import heat
from snapshot.store.bytecode import code_digest
from snapshot.store.functions import key_of
from snapshot.store.heat import MODES, Origin, Seen, Sum
from snapshot.store.place import place
from snapshot.store.searching import storable

DEPLOYMENT = "SNAPSHOT_DEPLOYMENT"
_TICK = 1.0  # seconds; a window of activity
_WRITE = 5.0  # seconds
_PATIENCE = 20.0  # seconds, after which a store that failed is tried again at the latest
_SOON = 2.0  # seconds that a fork waits for our thread
_LONG = 10.0  # seconds that an end waits for another thread's writing
_OPTIMIZED = 0x1  # flag of a code object: it is a function's, and not a class's or a module's
_INNER = frozenset({"<genexpr>", "<listcomp>", "<setcomp>", "<dictcomp>"})
_GENERIC = "<generic parameters of "  # `def f[T]`, whose T has a scope
_OURS = "snapshot.heat"  # among what multiprocessing gives to a process
_LEAVING = ("_exit", "execv", "execve")  # of os: what ends a process, or its program, at once

_tracing: _Tracing | None = None


def start(
    root: str | os.PathLike[str] | None = None,
    mode: str = "activity",
    *,
    only_if: object = True,
    store: str | os.PathLike[str] | None = None,
    deployment: str | None = None,
) -> bool:
    """Trace the functions of the application from here on, in this process, its forks, and the
    processes that multiprocessing spawns.

    Returns whether that is so. It never raises for what is missing outside of the program: that is
    told in one line on standard error, and the program goes on.

    root: the folder whose root marker says what belongs to the application; by default the one of
        the script, or the working directory, or one above.
    mode: `once`: which functions were ever called. `activity`: also when first and last, and in
        how many seconds. `counts`: how often, exactly. The first two cost next to nothing from
        Python 3.12 on. There `activity` calls `sys.monitoring.restart_events()` once a second,
        which wakes what other tools have disabled, too.
    only_if: if it is false, nothing is done.
    store: a file, or a `postgresql://` URL; by default the one of the application.
    deployment: a name that keeps what is counted apart; by default SNAPSHOT_DEPLOYMENT, else the
        revision that git has checked out, else none.

    The functions there are replace those known before; what is gone is kept in the archive.
    Python 3.11 traces this thread and those that it starts. Raises `UsageError` for another mode.
    """
    global _tracing
    if mode not in MODES:
        raise UsageError(f"mode={mode!r}: there are {', '.join(MODES)}")
    if not only_if or _tracing is not None:
        return _tracing is not None
    try:
        tracing = _Tracing(root, mode, store, deployment)
        tracing.start()
    except Exception as error:  # whatever it is, the application is not to suffer from it
        kind = "" if isinstance(error, SnapshotError) else f"{type(error).__name__}: "
        say(f"snapshot: nothing is traced: {kind}{error}")
        return False
    _tracing = tracing
    return True


def stop() -> None:
    """Trace no more, and write what was counted. Nothing happens if nothing is traced."""
    global _tracing
    if _tracing is not None:
        _tracing.stop()
        _tracing = None


class _What(NamedTuple):
    """What is kept of a code object at its first call. path: from the root. module: its name."""

    path: str
    module: str


class _Scope:
    """What belongs to the application."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._root = os.path.realpath(inventory.marker.root)
        self._paths: dict[str, str | None] = {}
        self._skipped = {each.path for each in inventory.skipped} - inventory.modules.keys()
        ignored = inventory.ignored
        self._ignored = {(each.path, each.first_line, each.qualname) for each in ignored}

    def admit(self, frame: FrameType) -> _What | None:
        """None for what is no function of the application."""
        code = frame.f_code
        name = code.co_name
        if not code.co_flags & _OPTIMIZED or name in _INNER or name.startswith(_GENERIC):
            return None
        file = code.co_filename
        if file.startswith("<"):  # it was made from a string, perhaps by the application
            file = str(frame.f_globals.get("__file__", ""))
        path = self._path(file)
        if path is None:
            return None
        module = self._inventory.modules.get(path) or str(frame.f_globals.get("__name__"))
        return None if self._ignores(code, path, module) else _What(path, module)

    def _path(self, file: str) -> str | None:
        """From the root, with slashes; None where it does not belong to it."""
        try:
            return self._paths[file]
        except KeyError:
            # A link in the application is a file of its own; one from elsewhere leads to one.
            folder, name = os.path.split(file)
            path = self._from_root(os.path.join(os.path.realpath(folder), name)) if file else None
            if file and path is None:
                path = self._from_root(os.path.realpath(file))
            self._paths[file] = path
            return path

    def _from_root(self, file: str) -> str | None:
        if not file.startswith(self._root + os.sep) or not self._inventory.marker.takes(
            relative := os.path.relpath(file, self._root)
        ):
            return None
        path = relative.replace(os.sep, "/")
        return None if path in self._skipped else path

    def _ignores(self, code: CodeType, path: str, module: str) -> bool:
        if (path, code.co_firstlineno, code.co_qualname) in self._ignored:
            return True
        marker = self._inventory.marker
        return bool(marker.keys) and marker.ignores(key_of(code, module))

    def seen(self, code: CodeType, what: _What) -> Seen:
        """The function that a code object is of."""
        key = key_of(code, what.module)
        known = self._inventory.at(what.path, code.co_firstlineno, code.co_qualname)
        if known is None and code.co_filename.startswith("<"):
            return Seen(key, b"", what.path, 0, "")  # each of its texts may be another one
        if known is None:
            return Seen(key, code_digest(code), what.path, code.co_firstlineno, "")
        return Seen(key, code_digest(code), what.path, known.line, known.digest)


class _Tracing:
    """That of a process, and of its forks."""

    def __init__(
        self,
        root: str | os.PathLike[str] | None,
        mode: str,
        store: str | os.PathLike[str] | None,
        deployment: str | None,
    ) -> None:
        marker = marker_of_program() if root is None else find(root)
        self._inventory = functions_in(marker)
        self._mode = mode
        self._scope = _Scope(self._inventory)
        name = storable(deployment or os.environ.get(DEPLOYMENT) or revision(marker.root))
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        origin = Origin(marker.name, name, version)
        where = store_of(marker.root, store)
        self._sender = Sender(where, origin)
        self._spawned = _Spawned(str(marker.root), mode, str(where.url or where.path), name)
        self._counting = Counting(self._admit, every=mode == "counts")
        self._published = self._ended = self._told = False
        self._leaving: dict[str, Callable[..., Any]] = {}
        self._begin()

    def _begin(self) -> None:
        """What each process has for itself."""
        self._lock = threading.RLock()
        self._owner = 0  # the thread that has it
        self._waiting: int | None = None  # a signal that came to that thread
        self._sums: dict[int, Sum] = {}  # that were not written yet
        self._ticker: _Ticker | None = None
        self._wait, self._not_before = _TICK, 0.0
        self._written = time.monotonic()

    def start(self) -> None:
        """Begin. Raises `UsageError` where that cannot be."""
        self._counting.start()
        self._write()
        atexit.register(self._end)
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._after_fork,
            after_in_child=self._forked,
        )
        self._leave_in_order()
        _inherited()[_OURS] = self._spawned
        self._wake()

    def stop(self) -> None:
        """End it."""
        self._ended = True
        self._sleep()
        self._counting.stop()
        self._finish()
        atexit.unregister(self._end)
        _inherited().pop(_OURS, None)
        for name, leave in self._leaving.items():
            if getattr(getattr(os, name), "__wrapped__", None) is leave:
                setattr(os, name, leave)
        if _is_main() and signal.getsignal(signal.SIGTERM) == self._terminated:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    # Calls.

    def _admit(self, frame: FrameType) -> _What | None:
        what = self._scope.admit(frame)
        if what is not None and self._ended:
            self._tell_late(frame.f_code, what)
            return None
        if what is not None and self._ticker is None:
            self._wake()
        return what

    def _tell_late(self, code: CodeType, what: _What) -> None:
        """Of a call after the end: other exit handlers, and finalizers, are functions, too."""
        with contextlib.suppress(Exception), self._alone():
            self._add(self._sender.number(self._scope.seen(code, what)), 1, time.time())
            self._write()

    # Sums.

    @contextlib.contextmanager
    def _alone(self, timeout: float = -1) -> Iterator[None]:
        """Nobody else takes sums or writes them, nor does the handler of a signal that comes in
        between: it waits. Raises TimeoutError."""
        if not self._lock.acquire(timeout=timeout):
            raise TimeoutError
        before, self._owner = self._owner, threading.get_ident()
        try:
            yield
        finally:
            self._owner = before
            self._lock.release()
            if self._waiting is not None and not before:
                _die_of(self._waiting)

    def _take(self, counters: list[Counter]) -> None:
        """Add what was counted since to the sums."""
        now = time.time()
        for each in counters:
            number = self._number(each)
            if hits := each.take():
                self._add(number, hits if self._mode == "counts" else 1, now)

    def _number(self, counter: Counter) -> int:
        if counter.number is None:
            counter.number = self._sender.number(self._scope.seen(counter.code, counter.what))
        return counter.number

    def _add(self, number: int, hits: int, now: float) -> None:
        before = self._sums.get(number)
        first, count = (now, 0) if before is None else (before.first, before.hits)
        self._sums[number] = Sum(number, count + hits, first, now)

    def _write(self) -> bool:
        """Write what there is; whether nothing is left to be written."""
        try:
            if not self._published:
                self._publish()
            if self._sums:
                self._sender.send(self._mode, list(self._sums.values()))
                self._sums.clear()
        except (StoreError, OSError) as error:
            self._tell(error)
            self._wait = min(2 * self._wait, _PATIENCE)
            self._not_before = time.monotonic() + self._wait
            return False
        self._wait = _TICK
        self._written = time.monotonic()
        return True

    def _publish(self) -> None:
        several = (
            heat.Place(self._inventory.name_of(each), each.path, each.line)
            for each in self._inventory
        )
        self._sender.make_store()
        self._sender.publish(several)
        self._published = True

    def _tick(self) -> None:
        """Once a second."""
        with self._alone():
            before = len(self._sums)
            self._take(self._counting.counters())
            self._counting.forget_unused()
            self._counting.again()
            now = time.monotonic()
            is_news = len(self._sums) > before and self._mode == "once"
            if now >= self._not_before and (is_news or now - self._written >= _WRITE):
                self._write()
        if self._sender.is_due():
            self._fold()

    def _fold(self) -> None:
        try:
            self._sender.fold()
        except (StoreError, OSError) as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        """The first time that a store cannot be written."""
        if not self._told:
            self._told = True
            say(f"snapshot: what runs cannot be stored for now, and is tried again: {error}")

    def _finish(self) -> None:
        """Write all there is, as far as another thread lets us."""
        with contextlib.suppress(TimeoutError), self._alone(_LONG):
            self._take(self._counting.counters())
            self._write()

    # The thread.

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # no thread can be started at the very end
            self._ticker = _Ticker(self._tick)

    def _sleep(self) -> None:
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None

    # Forks, and ends.

    def _before_fork(self) -> None:
        self._sleep()

    def _after_fork(self) -> None:
        """Our thread goes on with the next call: Python 3.13 looks for threads after this."""
        if not self._ended:
            self._sender.has_forked()
            with self._alone():
                self._take(self._counting.restart())
                self._write()

    def _forked(self) -> None:
        """What was counted before is the parent's. Our thread begins with the first call."""
        if not self._ended:
            self._begin()
            self._sender.forked()
            self._counting.restart()

    def _end(self) -> None:
        """At exit; what still runs afterwards is written call by call."""
        self._sleep()
        self._finish()
        self._ended = True
        self._counting.restart()
        if self._sender.is_due_at_end():
            self._fold()

    def _leave_in_order(self) -> None:
        """Where the process, or its program, ends at once, or by SIGTERM, write before."""
        for name in _LEAVING:
            self._leaving[name] = getattr(os, name)
            setattr(os, name, self._before(self._leaving[name]))
        if _is_main() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._terminated)

    def _before(self, leave: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(leave)
        def leaves(*args: Any, **kwargs: Any) -> Any:
            with contextlib.suppress(Exception):
                self._finish()
            return leave(*args, **kwargs)

        return leaves

    def _terminated(self, number: int, _: FrameType | None) -> None:
        if self._owner == threading.get_ident():
            self._waiting = number
            return
        with contextlib.suppress(Exception):
            self._finish()
        _die_of(number)


class _Spawned:
    """What a process that multiprocessing spawns is given: when it is unpickled there, it begins to
    trace as this one does."""

    def __init__(self, root: str, mode: str, store: str, deployment: str) -> None:
        self._asked = (root, mode, store, deployment)

    def __reduce__(self) -> tuple[Callable[..., _Spawned], tuple[str, ...]]:
        return _begin_spawned, self._asked


def _inherited() -> dict[str, object]:
    """What multiprocessing copies to each process that this one makes."""
    config: dict[str, object] = current_process()._config  # type: ignore[attr-defined]
    return config


def _begin_spawned(root: str, mode: str, store: str, deployment: str) -> _Spawned:
    start(root, mode, store=store, deployment=deployment)
    return _Spawned(root, mode, store, deployment)


class _Ticker:
    """A thread that calls something once a second. It is none of `threading`'s: programs count
    those, and wait for them."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._end = threading.Event()
        self._ended = threading.Lock()
        self._ended.acquire()
        self._id = 0
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        self._id = threading.get_native_id()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            while not self._end.wait(_TICK):
                with contextlib.suppress(Exception):  # of which nobody could do anything
                    self._tick()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self._ended.release()

    def stop(self) -> None:
        """End it, and wait until the system has forgotten it, so that a fork is told of none."""
        self._end.set()
        if not self._ended.acquire(timeout=_SOON):
            return
        until = time.monotonic() + _SOON
        while os.path.exists(f"/proc/self/task/{self._id}") and time.monotonic() < until:
            time.sleep(0)


def _die_of(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def store_of(root: Path, where: str | os.PathLike[str] | None) -> Any:
    """The place of a store, by default SNAPSHOT_STORE, else in the root of the application."""
    if where is None and not os.environ.get("SNAPSHOT_STORE"):
        where = root / ".snapshot" / "store.db"
    return place(where)


def marker_of_program() -> RootMarker:
    """That of the script that runs, else of the working directory. Raises `UsageError`."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script is not None:
        with contextlib.suppress(UsageError):
            return find(Path(script).resolve().parent)
    return find()
