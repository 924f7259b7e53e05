"""A program under the debugger, on a real terminal: commands, and what is shown."""

from __future__ import annotations

import re
import textwrap

from tests.terminal import PROMPT, Terminal

_PROMPT = re.compile(r"\(Pdb(?: (\d+))?\) $")
_PLACE = re.compile(r"> /.*?([\w.]+)\((\d+)\)([\w<>]+)\(\)")


class Debugging:
    """A program under the debugger, or at the shell's prompt when it has ended.

    command: that starts it; by default `snapshot debug p.py`. source: of `p.py`.
    shown: what came after the command that was typed last, up to the prompt.
    """

    def __init__(
        self, terminal: Terminal, source: str, options: str = "", command: str = ""
    ) -> None:
        self.terminal = terminal
        (terminal.directory / "p.py").write_text(textwrap.dedent(source).lstrip("\n"))
        self.shown = self._typed(command or f"snapshot debug {options} p.py")

    def say(self, *commands: str) -> str:
        """Type commands, each at a prompt; what the last one has shown."""
        for command in commands:
            self.shown = self._typed(command)
        return self.shown

    def interrupt(self) -> str:
        """Type Ctrl-C; what was shown from then on."""
        self.terminal.type("\x03")
        self.wait()
        shown = "\n".join(self.terminal.lines(self.terminal.typed_at)[:-1])
        self.shown = shown.removeprefix("^C")
        return self.shown

    def wait(self) -> str:
        """Wait for a prompt, this one's or the shell's; what was shown before it."""
        self.terminal.wait_until(self._is_asked, 60, awaited="prompt")
        _, *lines = self.terminal.lines(self.terminal.typed_at)
        self.shown = "\n".join(lines[:-1])
        return self.shown

    def _typed(self, command: str) -> str:
        self.terminal.line(command)
        return self.wait()

    def _is_asked(self) -> bool:
        lines = self.terminal.lines(self.terminal.typed_at)
        return len(lines) > 1 and bool(_PROMPT.search(lines[-1]) or lines[-1] == PROMPT)

    @property
    def position(self) -> int:
        """As the prompt shows it."""
        found = _PROMPT.search(self.terminal.lines(self.terminal.typed_at)[-1])
        assert found is not None, self.terminal.screen()
        return int(found[1])

    @property
    def line(self) -> int:
        """The number of the line at which the last command has arrived."""
        return int(self._place()[2])

    @property
    def function(self) -> str:
        """The name of the function in which the last command has arrived."""
        return self._place()[3]

    @property
    def is_line(self) -> bool:
        """Whether that is a line which is about to run: no call, return or exception."""
        return not re.search(
            r"^--(Call|Return)--$|^(Internal )?\w+(Error|Iteration)", self.shown, re.M
        )

    def _place(self) -> re.Match[str]:
        *_, found = _PLACE.finditer(self.shown)
        return found

    def lines(self, *commands: str) -> list[int]:
        """The line at which each of the commands arrives."""
        return [(self.say(each), self.line)[1] for each in commands]

    def stands(self, position: int, line: int) -> None:
        """The prompt, `w` and `l` all show this."""
        assert self.position == position
        shown = self.shown
        *_, where = _PLACE.finditer(self.say("w"))
        assert int(where[2]) == line
        arrows = re.findall(r"^ *(\d+) B? *->", self.say("l ."), re.M)
        assert arrows == [str(line)]
        self.shown = shown

    def quit(self, command: str = "q") -> int:
        """The exit status of `snapshot debug`."""
        self.say(command)
        status = int(self.terminal.run("echo $?"))
        self.terminal.vacated()
        return status
