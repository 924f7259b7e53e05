"""Who gets a signal: the experiment what comes from the terminal, the original what ends it.

While a process waits for its experiment, Ctrl-C and Ctrl-\\ go by it. SIGTERM and SIGHUP end the
experiment first and take their course afterwards. Everything else that the program handles itself
waits until it goes on, and its interval timers stand still. Nothing of that is in force in the
experiment.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import ctypes
import faulthandler
import os
import signal
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_getsig = ctypes.pythonapi.PyOS_getsig
_getsig.restype = ctypes.c_void_p
_libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
_libc.signal.restype = ctypes.c_void_p

# `signal` has the same functions, but makes enums of what they return: slow in a fork.
pthread_sigmask: Callable[[int, Iterable[int]], set[int]] = _signal.pthread_sigmask

_SIG_DFL, _SIG_IGN = 0, 1
_SIGACTION_SIZE = 512  # more than `struct sigaction` has on any platform

_GOES_BY = (signal.SIGINT, signal.SIGQUIT)
_ENDS = (signal.SIGTERM, signal.SIGHUP)
_STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT)
_ALL = frozenset(signal.valid_signals())
_MAY_BE_CAUGHT = sorted({int(number) for number in _ALL} - {*_GOES_BY, *_ENDS, *_STOPS})
TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class _Set:
    """A `sigset_t`. Module signal's own functions make an enum of each member: 0.1 ms a call."""

    def __init__(self, initial: _Set | None = None) -> None:
        content: bytes = initial.raw.raw if initial else b"\0" * 128
        self.raw: ctypes.Array[ctypes.c_char] = ctypes.create_string_buffer(content)

    def add(self, numbers: Iterable[int]) -> _Set:
        for number in numbers:
            _libc.sigaddset(self.raw, number)
        return self

    def set(self) -> None:
        """Make this the mask of the calling thread."""
        _libc.pthread_sigmask(signal.SIG_SETMASK, self.raw, None)

    @classmethod
    def now(cls) -> _Set:
        """The mask of the calling thread."""
        mask = cls()
        _libc.pthread_sigmask(signal.SIG_SETMASK, None, mask.raw)
        return mask


_EVERY = _Set().add(_ALL)


class Waiting:
    """The signals of a process around a fork and while it waits; made just before the fork.

    Every signal is blocked in this thread until `go_on` or `finish` is called.
    """

    def __init__(self) -> None:
        self._mask = _Set.now()
        self._beneath: dict[int, Any] = {}
        self._handlers: dict[signal.Signals, Any] = {}
        self._arrived: set[int] = set()
        self._pipes: dict[signal.Signals, tuple[int, int]] = {}
        self._timers: dict[int, tuple[float, float]] = {}
        try:
            self._hold_back()
        except BaseException:  # a handler of the program's, for a signal that has just arrived
            self.go_on()
            raise

    def _hold_back(self) -> None:
        _EVERY.set()
        for which in TIMERS:
            self._timers[which] = _signal.setitimer(which, 0)
        for number in _GOES_BY:
            self._set_beneath(number, _SIG_IGN)
        if _getsig(signal.SIGCHLD) == _SIG_IGN:
            self._set_beneath(signal.SIGCHLD, _SIG_DFL)  # or nobody could know how a child ended
        for number in _ENDS:
            handler = _signal.getsignal(number)
            if handler == signal.SIG_DFL or callable(handler):
                self._notice(number)

    def go_on(self) -> None:
        """Put everything back: in the experiment, or if there was no fork after all."""
        self._put_back()
        self._start_timers()
        self._mask.set()

    def mask(self) -> ctypes.Array[ctypes.c_char]:
        """What is blocked while this process waits, as a `sigset_t` for ppoll(2).

        Let in are the signals that end the experiment, and those that stop and continue.
        """
        caught = (number for number in _MAY_BE_CAUGHT if (_getsig(number) or 0) > _SIG_IGN)
        return _Set(self._mask).add(caught).raw

    def descriptors(self) -> list[int]:
        """What to watch beside the experiment: readable when a signal has arrived."""
        return [readable for readable, _ in self._pipes.values()]

    def arrived(self, ready: Iterable[int] = ()) -> bool:
        """Whether a signal has arrived that ends the experiment."""
        self._arrived |= {
            number for number, (readable, _) in self._pipes.items() if readable in ready
        }
        return bool(self._arrived)

    def finish(self) -> None:
        """The experiment has ended: put everything back, and let what arrived take its course."""
        _EVERY.set()
        self._put_back()
        self._start_timers()
        for number in self._arrived:
            os.kill(os.getpid(), number)
        self._mask.set()

    def _notice(self, number: signal.Signals) -> None:
        if threading.get_ident() == threading.main_thread().ident:
            self._handlers[number] = _signal.signal(number, self._note)
            return
        # The main thread takes the signal, but runs no Python code. faulthandler's handler is
        # written in C, and what it writes wakes this thread.
        readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._pipes[number] = (readable, writable)
        faulthandler.register(number, writable, all_threads=False)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._arrived.add(number)

    def _set_beneath(self, number: int, handler: int) -> None:
        former = ctypes.create_string_buffer(_SIGACTION_SIZE)
        _libc.sigaction(number, None, former)
        self._beneath[number] = former
        _libc.signal(number, handler)

    def _put_back(self) -> None:
        for number, former in self._beneath.items():
            _libc.sigaction(number, former, None)
        for handled, handler in self._handlers.items():
            _signal.signal(handled, handler)
        for noticed, pipe in self._pipes.items():
            faulthandler.unregister(noticed)
            for fd in pipe:
                os.close(fd)
        self._pipes.clear()

    def _start_timers(self) -> None:
        for which, (left, interval) in self._timers.items():
            if left or interval:
                _signal.setitimer(which, left, interval)
