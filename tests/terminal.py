"""A real terminal with a shell in it: a pty, and a screen that shows what a person would see.

Assertions are made on the screen. Every wait is a blocking read of the pty: output is what wakes
it, and it ends with what was waited for or with a `ScreenTimeout` that tells all there is.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shlex
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import pexpect
import psutil
import pyte
from pexpect.fdpexpect import fdspawn

from tests.processes import (
    compiled,
    describe,
    environment,
    kill_session,
    session_members,
    write_script,
)

PROMPT = "sh$ "
BASH = ("bash", "--norc", "--noprofile", "-i")

# A predicate may look at processes, which wake no read: it is asked again at least this often.
_TICK = 0.05  # seconds

_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, modes
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: titles
    r"|[ -/]+[0-~]"  # character sets
    r"|[0-Z\\^-~])"
)


class ScreenTimeout(AssertionError):
    """The screen did not come to show what was waited for."""


class Mark(NamedTuple):
    """A place in everything the screen has shown: a row counted from the first, and a column."""

    row: int
    column: int


@dataclass(frozen=True, repr=False)
class Modes:
    """The modes of a tty, as tcgetattr(3) gives them; equal if nothing at all differs."""

    input: int
    output: int
    control: int
    local: int
    speeds: tuple[int, int]
    keys: tuple[bytes | int, ...]

    @classmethod
    def of(cls, fd: int) -> Modes:
        """The modes of the tty, or of the pty's other side, that `fd` is open on."""
        iflag, oflag, cflag, lflag, ispeed, ospeed, keys = termios.tcgetattr(fd)
        return cls(iflag, oflag, cflag, lflag, (ispeed, ospeed), tuple(keys))

    def __repr__(self) -> str:
        flags = ("input", "output", "control", "local")
        numbers = ", ".join(f"{name}={getattr(self, name):#o}" for name in flags)
        said = ", ".join(
            f"{name}={getattr(self, name)}" for name in ("echo", "canonical", "signals")
        )
        return f"<Modes {said}; {numbers}, speeds={self.speeds}, keys={self.keys}>"

    @property
    def echo(self) -> bool:
        """Whether what is typed is shown by the kernel."""
        return bool(self.local & termios.ECHO)

    @property
    def canonical(self) -> bool:
        """Whether the kernel hands out whole lines."""
        return bool(self.local & termios.ICANON)

    @property
    def signals(self) -> bool:
        """Whether Ctrl-C, Ctrl-Z and Ctrl-\\ are signals."""
        return bool(self.local & termios.ISIG)


class Terminal:
    """A shell on a pty of its own, which lives on between the programs that are run in it.

    directory: where the shell starts; its HOME is made in there.
    env: variables added to those of `tests.processes.environment`.
    typed_at: where the cursor was when something was typed last.
    """

    def __init__(
        self,
        directory: Path,
        *,
        rows: int = 24,
        columns: int = 80,
        shell: tuple[str, ...] = BASH,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self._raw = bytearray()
        self._screen = Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.typed_at = Mark(0, 0)
        variables = {"TERM": "xterm-256color", "PS1": PROMPT, "INPUTRC": os.devnull, **(env or {})}
        self._master, slave = os.openpty()
        self._pty: fdspawn[bytes] = fdspawn(self._master, use_poll=True)
        try:
            termios.tcsetwinsize(self._master, (rows, columns))
            os.set_blocking(self._master, False)
            # The first tty that the leader of a new session opens becomes its controlling one.
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", 'exec "$@" <>"$0" >&0 2>&1', os.ttyname(slave), *shell],
                stdin=subprocess.DEVNULL,
                cwd=directory,
                env=environment(directory, variables),
                start_new_session=True,
            )
            try:
                self.prompt()
            except BaseException:
                self.close()
                raise
        finally:
            os.close(slave)  # not before the shell has it open: a pty without one reads as ended

    @property
    def shell_pid(self) -> int:
        """The shell, leader of the session."""
        return self._shell.pid

    # What a person does.

    def type(self, text: str) -> None:
        """Send keys as they are: "\\x03" is Ctrl-C, "\\x04" Ctrl-D, "\\x1a" Ctrl-Z."""
        self.typed_at = self.mark()
        data = text.encode()
        while data:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:  # who should read may be waiting until its output is read
                self._read(_TICK)

    def line(self, text: str = "") -> None:
        """Type a line, Enter included."""
        self.type(text + "\r")

    def run(self, command: str, timeout: float = 60) -> str:
        """Type a command, wait for the shell's prompt; the lines that came between the two."""
        self.prompt(timeout)
        start = self.mark()
        self.line(command)
        self.prompt(timeout)
        _, *shown = self.lines(start)
        return "\n".join(shown).removesuffix(PROMPT).rstrip("\n")

    def python(self, source: str | Path, *args: str, options: str = "") -> None:
        """Type the command that runs a script: a file, or source (see `write_script`)."""
        script = source if isinstance(source, Path) else write_script(self.directory, source)
        with contextlib.suppress(ValueError):
            script = script.relative_to(self.directory)
        interpreter = shlex.quote(Path(sys.executable).name)
        self.line(" ".join([interpreter, *options.split(), shlex.join([str(script), *args])]))

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size; the foreground group gets SIGWINCH."""
        self._screen.resize(rows, columns)
        termios.tcsetwinsize(self._master, (rows, columns))

    # What is seen.

    def screen(self) -> str:
        """The rows of the display as they stand, without the empty ones at its end."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip("\n")

    def lines(self, since: Mark | None = None) -> list[str]:
        """The lines shown, since the mark or from the first: scrolled off or on the display.

        A line that the terminal itself broke at its right edge is one line here.
        """
        row, column = since or Mark(0, 0)
        rows = self._screen.rows(row)
        if rows:
            rows[0] = rows[0]._replace(cells=rows[0].cells[column:])
        return _joined(rows)

    def transcript(self) -> str:
        """Everything that was ever written to the terminal, without its escape codes."""
        return _ESCAPES.sub("", self.raw().replace("\r\n", "\n"))

    def raw(self) -> str:
        """Everything that was ever written to the terminal."""
        return self._raw.decode("utf-8", "replace")

    def mark(self) -> Mark:
        """Where the cursor is now, after everything that can be read at once."""
        with contextlib.suppress(pexpect.EOF):
            while self._read(0):
                pass
        return self._cursor()

    def modes(self) -> Modes:
        """The tty's modes as they are at this moment."""
        return Modes.of(self._master)

    def processes(self) -> list[psutil.Process]:
        """What runs on this terminal besides the shell; see `session_members`."""
        return [
            process for process in session_members(self.shell_pid) if process.pid != self.shell_pid
        ]

    def pids(self) -> list[int]:
        """The pids of `processes()`."""
        return [process.pid for process in self.processes()]

    def vacated(self) -> None:
        """Wait until nothing runs on it: what was killed may need a moment to end."""
        self.wait_until(lambda: not self.pids(), 10, awaited="end of what runs here")

    def foreground(self) -> int:
        """The process group that has the terminal."""
        return os.tcgetpgrp(self._master)

    # What is waited for.

    def wait_for(
        self, wanted: str | re.Pattern[str], timeout: float = 60, *, since: Mark | None = None
    ) -> re.Match[str]:
        """Wait until the display, or what was shown since the mark, has the text or a match.

        Lines that the terminal broke at its right edge are looked at as whole ones.
        """
        pattern = compiled(wanted)
        found: re.Match[str] | None = None

        def shown() -> bool:
            nonlocal found
            start = since or Mark(self._screen.first_row, 0)
            found = pattern.search("\n".join(self.lines(start)))
            return found is not None

        self.wait_until(shown, timeout, awaited=repr(pattern.pattern))
        assert found is not None
        return found

    def wait_until(
        self, predicate: Callable[[], bool], timeout: float = 60, *, awaited: str = "the predicate"
    ) -> None:
        """Read the terminal until the predicate holds."""
        deadline = time.monotonic() + timeout
        while not predicate():
            left = deadline - time.monotonic()
            if left <= 0:
                raise ScreenTimeout(self._report(f"no {awaited} within {timeout} s"))
            try:
                self._read(min(left, _TICK))
            except pexpect.EOF:
                if not predicate():
                    raise ScreenTimeout(self._report(f"{awaited}: the terminal closed")) from None
                return

    def prompt(self, timeout: float = 60) -> None:
        """Wait until the shell has the terminal and shows its prompt after what was typed."""

        def ready() -> bool:
            row, column = self._cursor()
            return (
                self._screen.before_cursor().endswith(PROMPT)
                and Mark(row, column - len(PROMPT)) >= self.typed_at
                and self.foreground() == self.shell_pid
            )

        self.wait_until(ready, timeout, awaited="shell's prompt")

    def suspend(self) -> None:
        """Ctrl-Z, and wait until the shell has the terminal and the whole job has stopped.

        The shell waits for the process that it started, not for those that came of it: one that
        has not stopped yet might read what is typed next.
        """
        self.type("\x1a")
        self.prompt()
        self.wait_until(
            lambda: all(each.status() == psutil.STATUS_STOPPED for each in self.processes()),
            awaited="job that has stopped",
        )
        assert "Stopped" in self.run("jobs")

    def resume(self) -> None:
        """`fg`, and wait until the job has the terminal again."""
        self.line("fg")
        self.wait_until(
            lambda: self.foreground() != self.shell_pid, awaited="job that has the terminal"
        )

    # The end.

    def hang_up(self) -> None:
        """Take the terminal away, as when its window is closed: the shell gets SIGHUP."""
        if not self._pty.closed:
            self._pty.close()
            self._master = -1

    def close(self) -> None:
        """Kill and reap everything that runs here, the shell too."""
        if self._shell.returncode is None:
            kill_session(self.shell_pid)
            self._shell.wait()
        self.hang_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, timeout: float) -> bool:
        """Feed the screen with what can be read; False if nothing came in time."""
        try:
            data = self._pty.read_nonblocking(1 << 16, timeout)
        except pexpect.TIMEOUT:
            return False
        self._raw += data
        self._stream.feed(data)
        return True

    def _cursor(self) -> Mark:
        return Mark(self._screen.first_row + self._screen.cursor.y, self._screen.cursor.x)

    def _report(self, problem: str) -> str:
        return "\n".join(
            [
                problem,
                f"--- screen\n{self.screen()}",
                f"--- last of the transcript\n{self.raw()[-2000:]!r}",
                f"--- {self.modes()}",
                f"--- processes (foreground group {self.foreground()})",
                *map(describe, session_members(self.shell_pid)),
            ]
        )


class _Row(NamedTuple):
    """The text of each cell, and whether the terminal broke the line after the last."""

    cells: list[str]
    broken: bool


class Screen(pyte.Screen):
    """A screen that also keeps the rows that left it, and knows which it broke at the edge.

    Rows are counted from the first that was ever shown. Clearing the display moves its rows to
    those that left, so that the numbers only grow.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self._left: list[_Row] = []
        self._broken: set[int] = set()
        self._drawing = False
        super().__init__(columns, rows)

    @property
    def first_row(self) -> int:
        """The number of the display's first row."""
        return len(self._left)

    def before_cursor(self) -> str:
        """What stands to the left of the cursor in its row."""
        return "".join(self._cells(self.cursor.y)[: self.cursor.x])

    def rows(self, start: int) -> list[_Row]:
        """The rows from number `start` to the last that is in use, trailing blanks left out; those
        to the cursor's left, as after a prompt, are kept."""
        shown = [self._row(y) for y in range(max(self._used(), self.cursor.y + 1))]
        return [*self._left[start:], *shown[max(0, start - self.first_row) :]]

    # What pyte calls.

    def draw(self, data: str) -> None:
        self._drawing = True
        super().draw(data)
        self._drawing = False

    def linefeed(self) -> None:
        if self._drawing:
            self._broken.add(self.first_row + self.cursor.y)
        super().linefeed()

    def index(self) -> None:
        top, bottom = self.margins or (0, self.lines - 1)
        if self.cursor.y == bottom and top == 0:
            self._left.append(self._row(0))
        super().index()

    def erase_in_line(self, how: int = 0, private: bool = False) -> None:
        super().erase_in_line(how, private)
        if how != 1:
            self._broken.discard(self.first_row + self.cursor.y)

    def erase_in_display(self, how: int = 0, *args: Any, **kwargs: Any) -> None:
        if how in (2, 3):
            self._leave()
        super().erase_in_display(how, *args, **kwargs)
        erased = {0: range(self.cursor.y + 1, self.lines), 1: range(self.cursor.y)}.get(how, ())
        self._broken.difference_update(self.first_row + y for y in erased)

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        # As terminals do and pyte does not: the empty rows below the cursor go first.
        lines = lines or self.lines
        leaving = max(0, self.cursor.y + 1 - lines)
        rows = [self.buffer[y] for y in range(leaving, self.lines)]
        self._left += [self._row(y) for y in range(leaving)]
        self.buffer.clear()
        self.buffer.update(enumerate(rows[:lines]))
        self.cursor.y -= leaving
        self.lines = lines
        super().resize(lines, columns)

    def reset(self) -> None:
        if self.buffer:  # pyte's constructor calls this, too
            self._leave()
        super().reset()

    def select_graphic_rendition(self, *attrs: int, **private: bool) -> None:
        # Of a private one (xterm's modifyOtherKeys) pyte passes `private`, and knows no such word.
        if not private:
            super().select_graphic_rendition(*attrs)

    def _cells(self, y: int) -> list[str]:
        """A row of the display in full width; a wide character's second cell is empty."""
        row = self.buffer[y]
        return [row[x].data for x in range(self.columns)]

    def _row(self, y: int) -> _Row:
        cells, broken = self._cells(y), self.first_row + y in self._broken
        kept = self.cursor.x if y == self.cursor.y else 0
        while not broken and len(cells) > kept and cells[-1] == " ":
            cells.pop()
        return _Row(cells, broken)

    def _used(self) -> int:
        """How many rows of the display are in use."""
        blank = itertools.takewhile(lambda y: not self._row(y).cells, reversed(range(self.lines)))
        return self.lines - sum(1 for _ in blank)

    def _leave(self) -> None:
        self._left += [self._row(y) for y in range(self._used())]


def _joined(rows: list[_Row]) -> list[str]:
    lines = [""]
    for cells, broken in rows:
        lines[-1] += "".join(cells)
        if not broken:
            lines.append("")
    return lines if lines[-1] else lines[:-1]
