"""What the timeline costs at a prompt on a terminal, with all that the prompt does itself.

`python -m benchmarks.prompts`
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.harness import compare, main
from benchmarks.timeline import CHANGED, STATES, report

_OURS = ("snapshot-repl",)
_PEER = ("ptpython",)
_PROMPT = re.compile(rb"2004h.*(>>>|In.{0,40}\[.{0,60}\])", re.DOTALL)
_QUIET = 0.15  # seconds without output after which a prompt has done all that it does
_BARE = (
    "t = perf_counter(); p = fork(); p or _exit(0); waitpid(p, 0); took.append(perf_counter() - t)"
)


class Prompt:
    """A prompt on a pty of its own, with an empty home."""

    def __init__(self, command: Sequence[str], folder: str) -> None:
        program = str(Path(sys.executable).with_name(command[0]))
        variables = {"HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_DATA_HOME": folder}
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.closerange(3, 1024)  # what whoever runs this has left open
            os.environ.update(variables, TERM="xterm-256color", PROMPT_TOOLKIT_NO_CPR="1")
            os.execv(program, [program, *command[1:]])
        termios.tcsetwinsize(self._fd, (24, 80))
        self._until_prompt()
        self._settle()

    def cell(self, text: str, *, by_key: bool = False) -> float:
        """Type a cell; seconds from Enter until the next prompt.

        by_key: wait after each key, so that everything that the prompt does at a key is done.
        """
        for key in text if by_key else [text]:
            os.write(self._fd, key.encode())
            self._settle(0.02 if by_key else _QUIET)
        begun = time.perf_counter()
        os.write(self._fd, b"\r")
        self.shown = self._until_prompt()
        seconds = time.perf_counter() - begun
        self._settle()
        return seconds

    def close(self) -> None:
        os.kill(self._pid, signal.SIGTERM)
        os.close(self._fd)
        os.waitpid(self._pid, 0)

    def _until_prompt(self) -> bytes:
        shown = b""
        while not _PROMPT.search(shown):
            if not select.select([self._fd], [], [], 60)[0]:
                raise SystemExit(f"no prompt after {shown!r}")
            shown += os.read(self._fd, 1 << 16)
        return shown

    def _settle(self, quiet: float = _QUIET) -> None:
        while select.select([self._fd], [], [], quiet)[0]:
            os.read(self._fd, 1 << 16)


def trivial() -> None:
    """Three prompts by turns; then forks in the peer's, by which ours may be slower."""
    with tempfile.TemporaryDirectory() as folder:
        prompts = [Prompt(each, folder) for each in (_OURS, _PEER, (*_OURS, "--no-past"))]
        prompts[1].cell("from os import fork, waitpid, _exit; from time import perf_counter")
        prompts[1].cell("took = []")
        runs = [[*(each.cell("x = 1") for each in prompts), _bare(prompts[1])] for _ in range(30)]
        for each in prompts:
            each.close()
    ours, peer, without, floor = (median(side) for side in zip(*runs, strict=True))
    compare("a trivial cell", ours, peer + floor, "ptpython and a bare fork", 1.3)
    compare("a trivial cell", ours, peer, "ptpython")
    compare("a trivial cell, --no-past", without, peer, "ptpython")


def _bare(prompt: Prompt) -> float:
    prompt.cell(_BARE)
    prompt.cell("print('took', took.pop(), '')")
    found = re.search(rb"took ([0-9.e-]+) ", prompt.shown)
    assert found is not None, prompt.shown
    return float(found[1])


def _memory(what: str, *, collects: bool, by_key: bool) -> None:
    work = f"data[:{CHANGED}] = bytes([%d]) * {CHANGED}" + ("; gc.collect()" if collects else "")
    with tempfile.TemporaryDirectory() as folder:
        prompt = Prompt(_OURS, folder)
        prompt.cell("import gc, os, time; data = bytearray(os.urandom(1 << 20)) * 300")
        for number in range(STATES + 2):
            prompt.cell(work % number, by_key=by_key)
        prompt.cell("held = [s.memory for s in tm._here.request('states').frozen()][2:-1]")
        prompt.cell("print('held', *(each >> 10 for each in held), 'KiB')")
        told = re.search(rb"held ([\d\s]+)KiB", prompt.shown)
        assert told is not None, prompt.shown
        prompt.close()
    report(f"prompt: {what}", [int(each) << 10 for each in told[1].split()])


def memory() -> None:
    _memory("1 % of 300 MiB changed", collects=False, by_key=False)


def memory_by_key() -> None:
    _memory("the same, typed key by key", collects=False, by_key=True)


def memory_collected() -> None:
    _memory("the same, gc.collect()", collects=True, by_key=False)


if __name__ == "__main__":
    cases = {
        "trivial": trivial,
        "memory": memory,
        "memory_by_key": memory_by_key,
        "memory_collected": memory_collected,
    }
    raise SystemExit(main("benchmarks.prompts", cases))
