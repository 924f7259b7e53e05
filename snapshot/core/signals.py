"""Who gets a signal: the experiment what comes from the terminal, the original what ends it.

While a process waits for its experiment, Ctrl-C and Ctrl-\\ go by it. SIGTERM and SIGHUP end the
experiment first and take their course afterwards. Everything that the program handles itself
waits until it goes on, and its interval timers stand still. Nothing of that is in force in the
experiment. What Python believes about its handlers stays as it was: except for SIGTERM and
SIGHUP, dispositions are changed beneath it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from types import FrameType
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_libc.signal.restype = ctypes.c_void_p
_libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
ctypes.pythonapi.PyOS_getsig.restype = ctypes.c_void_p

_SIG_DFL, _SIG_IGN = 0, 1
_SIGACTION_SIZE = 512  # more than `struct sigaction` has on any platform

_GOES_BY = (signal.SIGINT, signal.SIGQUIT)
_ENDS = (signal.SIGTERM, signal.SIGHUP)
_STOPS = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT}
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class Waiting:
    """The signals of a process around a fork and while it waits; made just before the fork.

    Every signal is blocked in this thread until `go_on` or `wait` is called.
    """

    def __init__(self) -> None:
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._beneath: dict[int, Any] = {}
        self._handlers: dict[signal.Signals, Any] = {}
        self._arrived: list[int] = []
        self._wakeup: tuple[int, int, int] | None = None
        self._handled = {s for s in signal.valid_signals() if callable(signal.getsignal(s))}
        self._timers = {which: signal.setitimer(which, 0) for which in _TIMERS}
        for number in _GOES_BY:
            self._set_beneath(number, _SIG_IGN)
        if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
            self._set_beneath(signal.SIGCHLD, _SIG_DFL)  # or nobody could know how a child ended
        if threading.get_ident() == threading.main_thread().ident:
            self._note_in_main_thread()
        else:
            self._note_from_other_thread()

    def go_on(self) -> None:
        """Put everything back: in the experiment, or if there was no fork after all."""
        self._put_back()
        self._start_timers()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def wait(self) -> None:
        """Let the signals in that end the experiment, and those that stop and continue."""
        kept_back = self._handled - _STOPS - set(_ENDS)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask | kept_back)

    def descriptors(self) -> list[int]:
        """What to watch beside the experiment: readable when a signal may have arrived."""
        return [self._wakeup[0]] if self._wakeup else []

    def arrived(self) -> bool:
        """Whether a signal has arrived that ends the experiment."""
        if self._wakeup:
            self._arrived += self._drain()
        return any(number in _ENDS for number in self._arrived)

    def finish(self) -> None:
        """The experiment has ended: put everything back, and let what arrived take its course."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._put_back()
        self._start_timers()
        for number in {n for n in self._arrived if n in _ENDS}:
            os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _note_in_main_thread(self) -> None:
        for number in _ENDS:
            handler = signal.getsignal(number)
            if handler == signal.SIG_DFL or callable(handler):
                self._handlers[number] = signal.signal(number, self._note)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._arrived.append(number)

    def _note_from_other_thread(self) -> None:
        """The main thread takes the signals, but runs no Python code: watch the wakeup pipe.

        Python's own handler in C, which is in force for SIGINT if the program left it alone,
        writes the number of each signal to that pipe.
        """
        readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        former = ctypes.pythonapi.PySignal_SetWakeupFd(writable)
        self._wakeup = (readable, writable, former)
        python = self._python_handler()
        for number in _ENDS:
            if python and signal.getsignal(number) == signal.SIG_DFL:
                self._set_beneath(number, python)

    def _python_handler(self) -> int | None:
        for number in sorted(self._handled - set(_GOES_BY)):
            return int(ctypes.pythonapi.PyOS_getsig(number))
        if signal.SIGINT in self._handled:
            _libc.sigaction(signal.SIGINT, self._beneath[signal.SIGINT], None)
            handler = int(ctypes.pythonapi.PyOS_getsig(signal.SIGINT))
            _libc.signal(signal.SIGINT, _SIG_IGN)
            return handler
        return None

    def _set_beneath(self, number: int, handler: int) -> None:
        former = ctypes.create_string_buffer(_SIGACTION_SIZE)
        _libc.sigaction(number, None, former)
        self._beneath[number] = former
        _libc.signal(number, handler)

    def _put_back(self) -> None:
        for number, former in self._beneath.items():
            _libc.sigaction(number, former, None)
        for handled, handler in self._handlers.items():
            signal.signal(handled, handler)
        if self._wakeup:
            readable, writable, former_fd = self._wakeup
            self._arrived += self._drain()
            ctypes.pythonapi.PySignal_SetWakeupFd(former_fd)
            os.close(readable)
            os.close(writable)
            self._wakeup = None

    def _drain(self) -> bytes:
        assert self._wakeup is not None
        try:
            return os.read(self._wakeup[0], 4096)
        except BlockingIOError:
            return b""

    def _start_timers(self) -> None:
        for which, (left, interval) in self._timers.items():
            if left or interval:
                signal.setitimer(which, left, interval)
