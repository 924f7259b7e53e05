"""The recorder of a store: what a call was made with, and what came of it, into the spool.

It never raises into the program, and never changes what comes of a call: what it cannot do is
counted, and said once. (What the handler of a signal raises while it works comes through.)
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import os
import platform
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from types import FunctionType, TracebackType
from typing import Any, ClassVar, NamedTuple, NoReturn

from snapshot import pickling
from snapshot.core import modules
from snapshot.core.background import Background
from snapshot.errors import (
    RecordingWarning,
    SnapshotError,
    StoreError,
)
from snapshot.replay.contents import (
    ATOMS,
    Contents,
    Taken,
    as_taken,
    pickled_at_once,
    small_atoms,
    taken_at_once,
    taken_atoms,
)
from snapshot.replay.recorded import Args, Kwargs, Recorded
from snapshot.replay.secrets import Secrets
from snapshot.replay.yields import Yields
from snapshot.store import Store, events, spool
from snapshot.store.events import Outcome
from snapshot.store.objects import Placeholder, type_name
from snapshot.store.place import Place, place

# Bytes of spool files after which whoever records folds in as much as it goes on to write, a file
# at a time. A call waits for that.
_FOLD_AT = 1 << 24

_FRAMES = 100  # of a traceback that are told

_all_atoms = ATOMS.issuperset

_session = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}"
_paused = False

_BEHIND = Taken(b"")  # of arguments that are told in the background
_NO_SECRETS = Secrets()  # of calls in which nothing is redacted


class Running(NamedTuple):
    """A call that has been entered. parent: the number of the one that it was made in.

    began: nanoseconds. before: the arguments, if they may change. secrets: what they hold that is
    redacted.
    """

    number: int
    parent: int
    began: int
    before: Taken | None
    secrets: Secrets


class _Thread(threading.local):
    """number: that it was told under, 0 if it was not. busy: whether it records."""

    number = 0
    busy = False


class Recorder:
    """That of a store, for all functions which are recorded there."""

    _all: ClassVar[dict[Place, Recorder]] = {}
    _again = 0.0  # when a store that took long to fail is tried again

    @classmethod
    def of(cls, where: str | os.PathLike[str] | None) -> Recorder:
        """The one of a store. Nothing is made before a call is recorded. Raises `UsageError`."""
        return cls._at(place(where))

    @classmethod
    def _at(cls, found: Place) -> Recorder:
        if found not in cls._all:
            if not cls._all:
                os.register_at_fork(after_in_child=cls._forked)
            cls._all[found] = cls(found)
        return cls._all[found]

    def __init__(self, where: Place) -> None:
        self._place = where
        self._next = itertools.count(1).__next__
        # The number of the recorded call that we are in, of those of this store.
        self._current = contextvars.ContextVar("snapshot_call", default=0)
        self._parent: str | None = None
        self._forked_at = 0
        self._store: Store | None = None
        self.lost = 0
        self._warned = False
        self._begin()

    def __reduce__(self) -> tuple[Any, ...]:
        """What is recorded may be in a value that goes to another process."""
        return Recorder._at, (self._place,)

    def _begin(self) -> None:
        """What each process has for itself."""
        self._lock = threading.RLock()
        self._thread = _Thread()
        self._threads = 0
        self._functions: dict[Recorded, int] = {}
        self._is_known = False
        self._begun = 0  # bytes of the spool files
        self._background: Background | None = None

    @classmethod
    def _forked(cls) -> None:
        for each in cls._all.values():
            if each._is_known:
                each._fork()
            each._begin()

    def _fork(self) -> None:
        self._forked_at = self._next() - 1
        self._next = itertools.count(self._forked_at + 1).__next__
        self._parent = self._spool.writer
        self._spool.close()

    # A call.

    def enter(
        self,
        recorded: Recorded,
        args: Args,
        kwargs: Kwargs,
        function: FunctionType | None = None,
    ) -> Running | None:
        """A call begins. None if it is not recorded.

        function: the one that is called, where several have the code that is recorded.
        """
        thread = self._thread
        if thread.busy or _paused:
            return None  # code that runs because a call is recorded
        if recorded.is_simple and thread.number:
            running = self._enter_simply(recorded, args, kwargs, thread, function)
            if running is not None:
                return running
        thread.busy = True
        try:
            if not recorded.is_simple and not recorded.is_wanted(args, kwargs):
                return None
            if not self._is_known:
                self._introduce()
            around = None
            secrets = _NO_SECRETS
            if recorded.redaction is not None:
                secrets = Secrets(recorded.secrets)
            if recorded.redaction is not None and recorded.surroundings.exist:
                # What it has under the names.
                self._surroundings(recorded, secrets, function, args, kwargs)
            arguments, before = self._given(recorded, args, kwargs, secrets)
            if recorded.surroundings.exist and not recorded.surroundings.are_empty(
                function or recorded.function
            ):
                around = self._surroundings(recorded, secrets, function, args, kwargs)
            parent = self._current.get()
            with self._lock:
                number = self._next()
                record = events.entered(
                    number,
                    self._functions.get(recorded) or self._tell_function(recorded),
                    parent,
                    time.time_ns() // 1000,
                    thread.number or self._tell_thread(),
                    events.LATER if arguments is None else self._contents.tell(arguments),
                    b"" if around is None else self._contents.tell(around),
                )
                self._append(record)
            if arguments is None:
                self._tell_later(recorded, secrets, number, arguments=(args, kwargs))
            self._current.set(number)
            return Running(number, parent, time.perf_counter_ns(), before, secrets)
        except Exception as error:
            self._lose(error)
            return None
        finally:
            thread.busy = False

    def _given(
        self, recorded: Recorded, args: Args, kwargs: Kwargs, secrets: Secrets
    ) -> tuple[Taken | None, Taken | None]:
        """The arguments, None for later, and what they are compared with at the end."""
        if recorded.is_large((args, kwargs)):
            return None, _BEHIND
        if not kwargs and recorded.is_plain and _all_atoms(map(type, args)):
            return taken_atoms((args, {})), None
        taken = self._take((args, kwargs), recorded, secrets, 2, of_call=True)
        return taken, taken

    def _enter_simply(
        self,
        recorded: Recorded,
        args: Args,
        kwargs: Kwargs,
        thread: _Thread,
        function: FunctionType | None,
    ) -> Running | None:
        """What `enter` does where little is to be told. None where that is not so.

        Then nothing was done.
        """
        told = self._functions.get(recorded)
        if told is None or not self._is_known:
            return None
        if recorded.surroundings.exist and not recorded.surroundings.are_empty(
            function or recorded.function
        ):
            return None
        before = None
        if not kwargs and _all_atoms(map(type, args)):
            arguments = small_atoms((args, {}))
        else:
            arguments = self._at_once(recorded, (args, kwargs), thread)
            before = arguments and as_taken(arguments)
        if arguments is None:
            return None
        number, parent = self._next(), self._current.get()
        started = time.time_ns() // 1000
        try:
            if len(arguments) > events.SMALL:
                self._append_first(number, told, parent, started, thread.number, arguments)
            else:
                record = events.entered(
                    number, told, parent, started, thread.number, arguments, b""
                )
                spool = self._spool
                spool.append(events.KIND, record)
                if spool.file != self._file:
                    self._turn()
        except Exception as error:
            self._lose(error)
            return None
        self._current.set(number)
        # As fast as a tuple is made.
        return tuple.__new__(Running, (number, parent, time.perf_counter_ns(), before, _NO_SECRETS))

    def _append_first(
        self, number: int, told: int, parent: int, started: int, thread: int, arguments: bytes
    ) -> None:
        with self._lock:
            content = self._contents.told(arguments)
            self._append(events.entered(number, told, parent, started, thread, content, b""))

    def _at_once(self, recorded: Recorded, value: object, thread: _Thread) -> bytes | None:
        """See `pickled_at_once`. What was pickled in vain once is not tried again."""
        was_busy, thread.busy = thread.busy, True
        try:
            data = pickled_at_once(value)
        finally:
            thread.busy = was_busy
        if data is None:
            recorded.is_simple = False
        return data

    def _leave_simply(
        self,
        recorded: Recorded,
        running: Running,
        duration: int,
        args: Args,
        kwargs: Kwargs,
        value: Any,
    ) -> bool:
        """What `leave` does where little is to be told. False where that is not so."""
        number, _, _, before, _ = running
        thread = self._thread
        if before is not None and self._at_once(recorded, (args, kwargs), thread) != before.data:
            return False
        if type(value) in ATOMS:
            result = small_atoms(value)
        else:
            result = self._at_once(recorded, value, thread)
        if result is None:
            return False
        try:
            if len(result) > events.SMALL:
                with self._lock:
                    told = self._contents.told(result)
                    self._append(events.left(number, Outcome.returned, duration, told))
                return True
            spool = self._spool
            spool.append(events.KIND, events.left(number, Outcome.returned, duration, result))
            if spool.file != self._file:
                self._turn()
        except Exception as error:
            self._lose(error)
        return True

    def leave(
        self,
        recorded: Recorded,
        running: Running,
        args: Args,
        kwargs: Kwargs,
        value: Any,
        outcome: Outcome = Outcome.returned,
    ) -> None:
        """A call ends. value: what it returned, raised or, as a list, yielded."""
        duration = (time.perf_counter_ns() - running.began) // 1000
        if not recorded.is_generator:
            self._current.set(running.parent)
        number, _, _, before, secrets = running
        if (
            recorded.is_simple
            and outcome is Outcome.returned
            and self._leave_simply(recorded, running, duration, args, kwargs, value)
        ):
            return
        thread = self._thread
        was_busy, thread.busy = thread.busy, True
        try:
            now, later = before, {}
            if before is _BEHIND:
                later["after"] = args, kwargs
            elif before is not None:
                now = self._take((args, kwargs), recorded, secrets, 2, of_call=True)
            if type(value) is Yields and recorded.redaction is not None:
                value.hide(recorded.redaction.scrubbing(secrets))
            result = None
            if type(value) is not Yields and recorded.is_large(value):
                later["result"] = value
            elif type(value) in ATOMS and recorded.is_plain:
                result = taken_atoms(value)
            else:
                result = self._take(value, recorded, secrets)
            error = None
            if outcome is Outcome.raised:
                error = _in_words(_raised(value), recorded, secrets)
            with self._lock:
                told = events.LATER if result is None else self._contents.tell(result)
                after = b""
                if now is not None and before is not None and now[:2] != before[:2]:
                    after = self._contents.tell(now)
                self._append(events.left(number, outcome, duration, told, after, error))
            if later:
                self._tell_later(recorded, secrets, number, **later)
        except Exception as problem:
            self._leave_at_least(running.number, value, outcome, duration)
            self._lose(problem)
        finally:
            thread.busy = was_busy

    def inside(self, running: Running) -> int:
        """The body of a generator goes on. The number of the call that it was asked in."""
        before = self._current.get()
        self._current.set(running.number)
        return before

    def outside(self, before: int) -> None:
        """The body of a generator waits: we are in the call of that number again."""
        self._current.set(before)

    def yields(
        self, recorded: Recorded, running: Running, yields: Yields, value: Any, how: str = "yield"
    ) -> None:
        """A generator yields a value, or has returned it ("return"); or it was sent into it
        ("send") or raised in it ("throw")."""
        thread = self._thread
        was_busy, thread.busy = thread.busy, True
        try:
            scrubbing = None
            if recorded.redaction is not None:
                scrubbing, value = recorded.cleaned(value, running.secrets)
            most = recorded.options.max_value_bytes
            if how == "yield":
                yields.add(value, most, scrubbing)
            elif how == "return":
                yields.returned(value, most, scrubbing)
            else:
                yields.sent(how, value, most, scrubbing)
        except Exception as error:
            self._lose(error)
        finally:
            thread.busy = was_busy

    # What is told.

    def _take(
        self,
        value: Any,
        recorded: Recorded,
        secrets: Secrets,
        levels: int = 0,
        *,
        of_call: bool = False,
    ) -> Taken:
        """levels: see `Contents.take`. of_call: it is what a call is made with."""
        if recorded.is_plain and (taken := taken_at_once(value)) is not None:
            return taken
        most, redaction = recorded.options.max_value_bytes, recorded.redaction
        if type(value) is Yields:
            most = None  # which holds for each of them, and was looked at then
        if redaction is None:
            return self._contents.take(value, most, None, levels)
        scrubbing, clean = recorded.cleaned(value, secrets, of_call=of_call)
        return self._contents.take(clean, most, scrubbing, levels)

    def _tell_later(self, recorded: Recorded, secrets: Secrets, number: int, **values: Any) -> None:
        """Tell values of a call in the background, or now, where that cannot be."""
        path = self._spool.another()

        def records() -> Iterator[bytes]:
            for what, value in values.items():
                of_call = what != "result"
                levels = 2 if of_call else 0
                taken = self._take(value, recorded, secrets, levels, of_call=of_call)
                with self._lock:
                    yield events.later(number, what, self._contents.tell(taken))

        def work() -> None:
            global _paused
            _paused = True
            self._contents.forget()  # what was told is in another file
            spool.write(path, [(events.KIND, each) for each in records()])

        self._background = self._background or Background()
        if not self._background.run(work):
            with self._lock:
                for each in records():
                    self._append(each)

    def _surroundings(
        self,
        recorded: Recorded,
        secrets: Secrets,
        function: FunctionType | None,
        args: Args,
        kwargs: Kwargs,
    ) -> Taken | None:
        values = recorded.surroundings.values(function or recorded.function, args, kwargs)
        if not any(values.values()):
            return None
        if recorded.redaction is not None:
            for each in ("globals", "cells"):
                secrets.add_values(recorded.redaction.named(values[each]))
            if "defaults" in values:
                values["defaults"] = recorded.redacted_defaults()
            if "changing" in values:
                last, keywords = recorded.redacted_defaults()
                shown: dict[int | str, Any] = dict(enumerate(last or ()))
                shown.update(keywords or {})
                values["changing"] = {place: shown[place] for place in values["changing"]}
        taken = self._take(values, recorded, secrets, 2)
        recorded.surroundings.weigh_again(len(taken.data))
        return taken

    def _leave_at_least(self, number: int, value: Any, outcome: Outcome, duration: int) -> None:
        """Say that a call has ended, where more cannot be said."""
        kind = type_name(_raised(value) if outcome is Outcome.raised else value)
        error = {"type": kind, "text": "", "traceback": ""} if outcome is Outcome.raised else None
        try:
            missing = Placeholder(kind, "it could not be recorded", f"<{kind}>")
            with self._lock:
                result = self._contents.tell(taken_atoms(missing))
                self._append(events.left(number, outcome, duration, result, b"", error))
        except Exception as problem:
            if pickling.is_interrupt(problem):
                raise

    def _introduce(self) -> None:
        """Make the store, if it is not there, and say which process this is."""
        with self._lock, _signals_wait():
            if self._is_known:
                return
            if self._store is not None and not self._store.is_the_same:
                self._store.close()
                self._store = None
            if self._store is None:
                began = time.monotonic()
                if began < self._again:
                    raise StoreError("it could not be opened before, and that took long")
                try:
                    self._store = Store(self._place, create=True)
                except StoreError:
                    now = time.monotonic()
                    self._again = now + 10 * (now - began)  # most of the time is the program's
                    raise
                self._contents = Contents(self._store.objects)
            self._contents.forget()
            self._spool: spool.Spool = self._store.spool
            facts = {
                "session": _session,
                "parent": self._parent,
                "forked": self._forked_at,
                "pid": os.getpid(),
                "host": platform.node(),
                "python": platform.python_version(),
                "folder": _folder(),
                "path": [each for each in sys.path if isinstance(each, str)],
                "main": main_file(),
                "package": getattr(modules.main(), "__package__", None),
                "started": time.time(),
            }
            self._spool.append(events.KIND, events.told("process", facts))
            self._file = self._spool.file
            self._is_known = True

    def _tell_function(self, recorded: Recorded) -> int:
        with self._lock, _signals_wait():
            if recorded not in self._functions:
                number = len(self._functions) + 1
                facts = {"number": number, **recorded.facts}
                self._append(events.told("function", facts))
                self._functions[recorded] = number
            return self._functions[recorded]

    def _tell_thread(self) -> int:
        with self._lock:
            self._threads += 1
            number = self._threads
            ident = threading.get_ident()
            names = [each.name for each in threading.enumerate() if each.ident == ident]
            facts = {"number": number, "ident": ident, "name": "".join(names[:1])}
            self._append(events.told("thread", facts))
            self._thread.number = number
            return number

    def _append(self, record: bytes) -> None:
        """With the lock, since what is told is told: later records refer to it."""
        try:
            self._spool.append(events.KIND, record)
        except BaseException:
            self._contents.forget()
            raise
        if self._spool.file != self._file:
            self._turn()

    def _turn(self) -> None:
        """Another spool file was begun."""
        with self._lock:
            assert self._store is not None
            self._file = self._spool.file
            self._contents.forget()
            if not self._store.is_the_same:
                self._begin_anew()
            self._begun += self._spool.size
            if self._begun > _FOLD_AT:
                # What is in a spool is there: whoever reads the store is told what is amiss.
                with contextlib.suppress(StoreError):
                    self._store.fold(wait=False, most=self._spool.size // 2)

    def _begin_anew(self) -> NoReturn:
        """The store was deleted, with all that was told: the next call makes another one."""
        store, spool = self._store, self._spool
        assert store is not None
        self._begin()
        self._store = None
        with contextlib.suppress(Exception):
            spool.abandon()
            store.close()
        raise StoreError("it was deleted while this process recorded, and is made anew")

    def _lose(self, error: Exception) -> None:
        """One call is not recorded, or not all of it; the program goes on.

        What the handler of a signal has raised meanwhile is raised.
        """
        self.lost += 1
        if pickling.is_interrupt(error):
            raise error
        if not self._warned:
            self._warned = True
            why = _text(error)
            if not isinstance(error, SnapshotError):
                why = f"{type(error).__name__}: {why}"
            message = f"calls are not recorded in {self._place}: {why}"
            try:
                warnings.warn(message, RecordingWarning, stacklevel=4)
            except Exception:  # warnings are errors here, and this one must be none
                with contextlib.suppress(Exception):
                    print(f"snapshot: {message}", file=sys.stderr)


def session() -> str:
    """The name of this process's session, the same in all its forks."""
    return _session


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """In the block nothing is recorded: a call that is made again is none that happened."""
    global _paused
    before, _paused = _paused, True
    try:
        yield
    finally:
        _paused = before


def lost() -> int:
    """How many calls this process could not record, or not wholly."""
    return sum(each.lost for each in Recorder._all.values())


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """What is done once, and takes long, is not cut off by the handler of a signal."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _raised(value: Any) -> BaseException:
    error = value.raised if type(value) is Yields else value
    assert isinstance(error, BaseException)
    return error


def _in_words(error: BaseException, recorded: Recorded, secrets: Secrets) -> dict[str, str]:
    kind = type(error)
    place: TracebackType | None = error.__traceback__
    if place is not None and place.tb_frame.f_code is not recorded.function.__code__:
        place = place.tb_next  # the first is the wrapper of `record`
    lines = traceback.format_exception(kind, error, place, limit=_limit(place))
    words = {
        "type": f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."),
        "text": _text(error),
        "traceback": "".join(lines),
    }
    if recorded.redaction is None:
        return words
    scrubbing = recorded.redaction.scrubbing(secrets)
    return {name: scrubbing.text(text) for name, text in words.items()}


def _limit(place: TracebackType | None) -> int | None:
    """Of a recursion that has gone too deep, the innermost frames are told: each of the calls would
    tell all of those below it."""
    count = 0
    while place is not None:
        count, place = count + 1, place.tb_next
    return -_FRAMES if count > _FRAMES else None


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as other:
        if pickling.is_interrupt(other):
            raise
        return f"<its str raised {type(other).__name__}>"


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def main_file() -> str | None:
    """The file of the program that runs, None for an interactive session."""
    file = getattr(modules.main(), "__file__", None)
    return os.path.abspath(file) if isinstance(file, str) else None
