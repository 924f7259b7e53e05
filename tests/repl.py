"""A person at the prompt of snapshot-repl, in a real terminal."""

from __future__ import annotations

import itertools
import re
import shlex
import time

from tests.terminal import Terminal

LOAD = """
import time
data = list(range(1000))
def sleep():
    print('asleep')
    while True:  # a signal that comes just before a long sleep would be seen after it
        time.sleep(0.01)
def broken(number):
    local = number * 2
    raise ValueError(local)
"""


def compiled_prompt(prompt: str) -> re.Pattern[str]:
    """A prompt as it is written in these tests, where `>>>` stands for `In [n]:` of any n."""
    return re.compile(re.escape(prompt).replace(">>>", r"In \[\d+\]:"))


class Repl:
    """A snapshot-repl in a terminal, and a person who waits for its prompt before typing."""

    def __init__(
        self,
        terminal: Terminal,
        *arguments: str,
        source: str | None = LOAD,
        command: str = "snapshot-repl",
    ) -> None:
        """source: the program, as a file named program.py; none for None."""
        self.terminal = terminal
        self._modes = terminal.run("stty -g")
        if source is not None:
            (terminal.directory / "program.py").write_text(source)
            arguments = (*arguments, "program.py")
        terminal.line(f"{command} {shlex.join(filter(None, arguments))}")

    def prompt(self, prompt: str = ">>>") -> None:
        """Wait for the prompt below what was typed last; `>>>` stands for one of any number."""
        pattern = compiled_prompt(prompt)

        def shown() -> bool:
            _, *below = self.terminal.lines(self.terminal.typed_at)
            lines = [line.strip() for line in below if line.strip()]
            # The last one may be ptpython's status bar.
            return any(pattern.fullmatch(line) for line in lines[-2:])

        self.terminal.wait_until(shown, awaited=f"prompt {prompt!r}")

    def say(self, line: str, prompt: str = ">>>") -> None:
        """Wait for the prompt, and type a line there."""
        self.prompt(prompt)
        self.terminal.line(line)

    def sees(self, wanted: str | re.Pattern[str]) -> re.Match[str]:
        """Wait for something below what was typed last."""
        return self.terminal.wait_for(wanted, since=self.terminal.typed_at)

    def type_ctrl_d(self) -> None:
        """Leave by Ctrl-D, and say yes to the question that comes below the prompt."""
        start = self.terminal.mark()
        self.terminal.type("\x04")
        self.sees("Do you really want to exit?")
        self.terminal.type("y")
        self.terminal.typed_at = start

    def recall(self, line: str, prompt: str = ">>>") -> None:
        """Go back to a line of the history, which is loaded some time after the prompt appears."""
        self.prompt(prompt)
        deadline = time.monotonic() + 20
        for mark in map(str, itertools.count(100)):  # each its own: one may be drawn twice
            self.terminal.type(f"\x1b[A#{mark}")
            found = self.terminal.wait_for(
                re.compile(rf"^{compiled_prompt(prompt).pattern} (.*)#{mark}\s*$", re.M)
            )
            self.terminal.type("\x7f" * len(f"#{mark}"))
            if found[1] == line:
                break
            if time.monotonic() > deadline:
                shown = self.terminal.screen()
                kept = [each.read_text() for each in self.terminal.directory.rglob("*history*")]
                raise AssertionError(f"no {line!r} in the history:\n{shown}\n{kept}")
        self.terminal.wait_until(lambda: f"#{mark}" not in self.terminal.screen())

    def leave(self) -> None:
        """Wait for the original's prompt, end it there, and find the shell as it was."""
        self.say("exit()")
        self.terminal.prompt()
        assert self.terminal.run("stty -g") == self._modes
        self.terminal.vacated()

    def leave_from(self, prompt: str) -> None:
        """The same from a branch: everything ends with it."""
        self.say("exit()", prompt)
        self.terminal.prompt()
        assert self.terminal.run("stty -g") == self._modes
        self.terminal.vacated()

    def prompt_above_toolbar(self, prompt: str) -> None:
        """Wait for the prompt while futures run, whose progress is shown at the bottom."""
        pattern = compiled_prompt(prompt)

        def shown() -> bool:
            _, *below = self.terminal.lines(self.terminal.typed_at)
            return any(pattern.fullmatch(line.strip()) for line in below)

        self.terminal.wait_until(shown, awaited=f"prompt {prompt!r}")
