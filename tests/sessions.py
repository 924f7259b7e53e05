"""Sessions at a terminal as they are written down: what is typed at prompts, and what is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tests.terminal import PROMPT, Terminal

_PROMPTS = re.compile(
    r"(\$ |(?:branch \d+ )?(?:\d+ (?:\w+ )?)?(?:>>>|In \[\d+\]:) "
    r"|\(Pdb(?: \d+)?\) |.*\[[Yy]/[Nn]\] )(.*)"
)


def play(terminal: Terminal, lines: Sequence[str]) -> None:
    """Type what stands after the prompts, and see all the rest, in that order.

    In a session of the shell alone nothing else may be shown. What differs from run to run (times,
    sizes, processes) need not be the same.
    """
    prompts = [match[1] for line in lines if (match := _PROMPTS.fullmatch(line))]
    for line in lines:
        if match := _PROMPTS.fullmatch(line):
            _type(terminal, match[1], match[2])
    terminal.prompt()
    shown = list(_shown(terminal))
    wanted = [_plain(line) for line in lines if line]
    if set(prompts) == {"$ "}:
        assert shown == wanted, "\n".join(shown)
    else:
        rest = iter(shown)
        missing = [line for line in wanted if line not in rest]
        assert not missing, "\n".join(shown)


def _type(terminal: Terminal, prompt: str, text: str) -> None:
    if prompt == "$ ":
        terminal.prompt()
    else:
        # The prompt stands at the end of what is shown; ptpython has its status bar below.
        pattern = re.compile(r"(?:^|\n)" + re.escape(prompt.rstrip()) + r" ?(?:\n|$)")
        terminal.wait_for(pattern, since=terminal.typed_at)
    terminal.line(text)


def _shown(terminal: Terminal) -> Iterator[str]:
    """What a person has seen, compared as `_plain` says; without empty lines."""
    for line in terminal.lines()[:-1]:  # the last is the prompt that waits
        text = line.replace(PROMPT, "$ ", 1) if line.startswith(PROMPT) else line
        if plain := _plain(text):
            yield plain


def _plain(line: str) -> str:
    """The line without what differs from run to run."""
    line = " ".join(line.split())
    line = re.sub(r"\b[\d.]+(?:e-?\d+)? (?:µs|ms|s)\b", "<time>", line)
    line = re.sub(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", "<date>", line)
    line = re.sub(r"\b[\d.]+ [KM]iB", "<size>", line)
    line = re.sub(r"<(?:stdin|python-input-\d+)>(?=:\d)", "<input>", line)  # by version
    line = re.sub(r"\(\d+\)$", "(<pid>)", line)
    return re.sub(r"(\bprocess|\bnow,|^\d( loaded)?|^here) \d+\b", r"\1 <pid>", line)
