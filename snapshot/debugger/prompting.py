"""The prompt of a debugger with a past: what the engine asks of it, see `engine.Prompt`."""

from __future__ import annotations

import contextlib
import linecache
import signal
import sys
import traceback
from bdb import BdbQuit
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

from snapshot.core import terminal
from snapshot.core.messages import say
from snapshot.debugger import breaking
from snapshot.debugger.engine import Event
from snapshot.debugger.looking import Looking
from snapshot.debugger.searching import (
    Depth,
    LastChange,
    LastHit,
    LineBefore,
    Passing,
    Search,
)
from snapshot.debugger.stepping import THE_END


class Prompting(Looking):
    """A pdb that the engine can ask."""

    main = "__main__"  # the module among whose names it is asked when the program has ended

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._sources: dict[str, Any] = {}

    def show(self, event: Event) -> None:
        """See `engine.Prompt`."""
        if self._past is not None:
            self.prompt = f"(Pdb {event.time}) "
        self.changed = False
        with self._streams():
            if event.kind == "line":
                self.user_line(event.frame)
            elif event.kind == "call":
                self.user_call(event.frame, None)
            elif event.kind == "exception":
                self.user_exception(event.frame, event.argument)
            else:
                self.user_return(event.frame, event.argument)
                if not self.quitting:  # which a step ends
                    self.leave(event.frame)

    @contextlib.contextmanager
    def _streams(self) -> Iterator[None]:
        """Ours, wherever the program has put its own."""
        self._open_again()
        theirs = sys.stdin, sys.stdout
        sys.stdin, sys.stdout = ours = self.stdin, self.stdout
        # What was shown of the sources is not among what the program has read of them.
        typed = {name: each for name, each in linecache.cache.items() if _is_typed(each)}
        self._sources |= typed
        self._sources, linecache.cache = linecache.cache, self._sources
        try:
            with self._descriptors():
                yield
        finally:
            self._sources, linecache.cache = linecache.cache, self._sources
            if (sys.stdin, sys.stdout) == ours:  # else it was changed at the prompt
                sys.stdin, sys.stdout = theirs

    def _open_again(self) -> None:
        """The program may have closed our streams, which were Python's own."""
        if self.stdin.closed:
            self.stdin = terminal.opened(0)
        if self.stdout.closed:
            self.stdout = terminal.opened(1)

    def _descriptors(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._past is None else self._traveller.aloud()

    def message(self, msg: str, *more: Any, **options: Any) -> None:
        """As pdb's own, wherever the program has put its streams."""
        with self._descriptors():
            self._open_again()
            super().message(self._shown(msg), *more, **options)

    def error(self, msg: str) -> None:
        """As pdb's own."""
        super().error(self._shown(msg))

    def _shown(self, text: object) -> str:
        """With escapes for what the terminal's encoding has not."""
        stream = self.stdout
        encoding, errors = (getattr(stream, name, None) for name in ("encoding", "errors"))
        try:
            str(text).encode(encoding or "utf-8", errors or "strict")
        except UnicodeEncodeError as error:
            return str(text).encode(error.encoding, "backslashreplace").decode(error.encoding)
        return str(text)

    def user_call(self, frame: FrameType, argument_list: Any) -> None:
        """As pdb's own, wherever it was to stop."""
        self.message("--Call--")
        self.interaction(frame, None)

    def onecmd(self, line: str) -> bool:
        """As pdb's own; what a command raises is told, and is no exception of the program's."""
        try:
            return super().onecmd(line)
        except (BdbQuit, OSError):  # OSError: of the terminal, see `lose`
            raise
        except Exception as error:
            if self.quitting:  # by an exception, under pytest
                raise
            self.error(_first_line(error))
            return False

    def _cmdloop(self) -> None:
        """As pdb's own, which Ctrl-C brings back to its prompt; before and after it there is
        nothing that could be interrupted (see `engine`)."""
        while True:
            try:
                with self._interruptible():
                    super()._cmdloop()
                return
            except UnicodeDecodeError as error:
                self.error(f"what was typed is no text: {error}")

    def print_stack_entry(self, *entry: Any, **options: Any) -> None:
        """As pdb's own: what a function returns is shown, and that may take its time."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            super().print_stack_entry(*entry, **options)
            return
        try:
            with self._interruptible():
                super().print_stack_entry(*entry, **options)
        except KeyboardInterrupt:
            self.message("--KeyboardInterrupt--")

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        if self._past is None:
            yield
            return
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def show_end(self, moment: int, error: BaseException | None) -> None:
        """See `engine.Prompt`."""
        self.prompt = f"(Pdb {moment}) "
        while not self.quitting:
            how = "has ended" if error is None else f"was ended by {_first_line(error)}"
            self.message(self.told_of_end(how))
            frame = _frame_of(vars(sys.modules[self.main]))
            with self._streams():
                if error is None or error.__traceback__ is None:
                    self.interaction(frame, None)
                else:
                    self.interaction(None, error.__traceback__)

    def told_of_end(self, how: str) -> str:
        """What is said at the end of the program. how: it has come to that."""
        return f"The program {how}. Its past is there (rs, back, goto), q quits."

    def tell(self, text: str) -> None:
        """See `engine.Prompt`."""
        self.message(text)

    def lose(self, problem: OSError) -> None:
        """See `engine.Prompt`."""
        self.quitting = True
        if not isinstance(problem, BrokenPipeError):  # else they have seen enough
            say(f"snapshot: the debugger ends, as its terminal fails: {problem}")

    def search(self, news: Mapping[str, Any], event: Event) -> Search:
        """See `engine.Prompt`."""
        if news["sought"] == "path":
            return Passing()
        if news["sought"] == "depth":
            return Depth(self.botframe)
        if news["sought"] == "line":
            return LineBefore(news, event.frame, self.botframe, self._own)
        if news["sought"] == "hit":
            self.take(news["carried"])
            return LastHit(
                lambda kind, frame: kind == "line" and breaking.would_be_hit(self, frame),
                frozenset(breaking.lines()),
            )
        return LastChange(news, event.frame, self.botframe)

    def set_break(self, filename: str, lineno: int, *more: Any, **others: Any) -> str | None:
        """As that of `bdb`; it is refused where it would never be hit."""
        if not self._own.has_file(self.canonic(filename)):
            return f"{filename} is installed code, which is not watched: start with --libraries"
        return super().set_break(filename, lineno, *more, **others)


def _is_typed(source: tuple[Any, ...]) -> bool:
    """Whether it is in the cache of `linecache` alone: it has no file, and so no time of one."""
    return len(source) > 1 and source[1] is None


def _first_line(error: BaseException) -> str:
    told = traceback.format_exception_only(error)[-1]
    return told.strip().partition("\n")[0]


def _frame_of(namespace: dict[str, Any]) -> FrameType:
    """A frame in which names mean what they mean in a module that has ended."""
    code = compile("import sys as _\n_ = _._getframe()", THE_END, "exec")
    local: dict[str, Any] = {}
    exec(code, namespace, local)
    frame: FrameType = local["_"]
    return frame
