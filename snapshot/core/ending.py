"""How a forked process ends: in order, and with nothing of the original's undone.

Python's own end would run the original's exit handlers and finalizers in the experiment. So the
experiment registers one more exit handler when it begins. Handlers run last in, first out: what
the experiment registered runs, then this one, which sees to the buffers and ends the process. The
handlers of the original stay behind it, for `keep`.

An exit handler is not told the exit code. It is read where Python's C code reads it: from the
attribute `code` of the SystemExit that no frame has caught.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from snapshot.core import process, streams
from snapshot.core.process import Exit

_at_end: Callable[[Exit], None] | None = None
_pid = 0
_how: Exit | None = None
_last_exception: BaseException | None = None
_in_thread = threading.local()


def arm(at_end: Callable[[Exit], None]) -> None:
    """From now on this process, a child that was just forked, ends here.

    at_end: called with how it is about to end, after the exit handlers that it registered itself
    and before its buffers are written out. Not called in processes that this one forks without
    this package; those end without the original's handlers all the same.
    """
    global _at_end, _pid, _how, _last_exception
    _at_end, _pid, _how = at_end, os.getpid(), None
    _last_exception = _latest_exception()
    atexit.register(_end)
    if threading.get_ident() != _first_thread.ident:
        _watch_thread()


def disarm() -> None:
    """This process is the original now, and ends as any other does."""
    global _at_end
    _at_end = None


def end(how: Exit) -> None:
    """End this process in order: its exit handlers, its buffers. No frame is unwound."""
    global _how
    _how = how
    atexit._run_exitfuncs()
    streams.flush_last()
    process.exit_now(how)


def _end() -> None:
    if _at_end is None:
        return
    how = _how or _last_way_out()
    try:
        if os.getpid() == _pid:
            _at_end(how)
    finally:
        streams.flush_last()
        process.exit_now(how)


def _last_way_out() -> Exit:
    """How Python is about to end: the exit code that was read, an exception, or the last line."""
    exception = _latest_exception()
    if _final_code:
        return Exit(code=status(_final_code[-1]))
    if exception is None or exception is _last_exception or _goes_on_after(exception):
        return Exit(code=0)
    if isinstance(exception, KeyboardInterrupt):
        return Exit(signal=signal.SIGINT)
    return Exit(code=1)


def status(code: object) -> int:
    """The exit code that a `SystemExit` with this one means."""
    if code is None:
        return 0
    return code & 0xFF if isinstance(code, int) else 1


def _latest_exception() -> BaseException | None:
    name = "last_exc" if sys.version_info >= (3, 12) else "last_value"
    latest: BaseException | None = getattr(sys, name, None)
    return latest


def _goes_on_after(exception: BaseException) -> bool:
    """Whether it was shown by a prompt that then went on, rather than by Python at its end."""
    trace = exception.__traceback__
    if sys.flags.interactive or trace is None or trace.tb_frame.f_back is not None:
        return True
    if str(trace.tb_frame.f_globals.get("__name__")).startswith("IPython."):
        return True
    name = trace.tb_frame.f_code.co_filename  # what is typed has one in brackets: "<stdin>"
    return hasattr(sys, "ps1") and name.startswith("<") and name != "<string>"


_final_code: list[object] = []
_code: Any = SystemExit.__dict__["code"]


class _WatchedCode:
    """`SystemExit.code`, which remembers what was read when no Python frame was running."""

    def __get__(self, instance: SystemExit | None, owner: type | None = None) -> Any:
        value = _code.__get__(instance, owner)
        if instance is not None and sys._getframe().f_back is None:
            _final_code.append(value)
        return value

    def __set__(self, instance: SystemExit, value: object) -> None:
        _code.__set__(instance, value)

    def __delete__(self, instance: SystemExit) -> None:
        _code.__delete__(instance)


def prepare() -> None:
    """Before a fork, so that the child need not copy the memory: watch for the exit code."""
    (attributes,) = gc.get_referents(SystemExit.__dict__)
    if not isinstance(attributes["code"], _WatchedCode):
        attributes["code"] = _WatchedCode()
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(SystemExit))
        if sys.version_info < (3, 12):
            _make_exit_raise_an_instance()


def _make_exit_raise_an_instance() -> None:
    """Python 3.11's `sys.exit` raises the bare code, which nobody reads from an attribute."""
    plain = sys.exit

    @functools.wraps(plain)
    def exit(status: Any = None, /) -> NoReturn:
        raise SystemExit(status)

    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get("exit") is plain:
            module.__dict__["exit"] = exit


# The thread that Python itself ends with; after a fork in another thread `threading` calls that
# one the main thread, but Python still ends when this one's C function returns.
_first_thread = threading.main_thread()


class _ThreadEnd:
    """Lives in the thread's local storage: it is deleted when the thread's function has returned.

    Python would end the process there without exit handlers, and drop its buffers.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.code = 0

    def __del__(self) -> None:
        if _at_end is not None and os.getpid() == self.pid:
            end(Exit(code=self.code))


def _watch_thread() -> None:
    if hasattr(_in_thread, "last"):
        _in_thread.last.pid = 0  # that it is deleted now is no end
    _in_thread.last = _ThreadEnd()
    thread: Any = threading.current_thread()
    report = thread._invoke_excepthook

    def invoke_excepthook(thread: threading.Thread) -> None:
        error = sys.exception()
        _in_thread.last.code = status(error.code) if isinstance(error, SystemExit) else 1
        report(thread)

    thread._invoke_excepthook = invoke_excepthook
