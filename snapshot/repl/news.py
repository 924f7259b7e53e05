"""What futures write, and how they end, told above a prompt of prompt_toolkit's."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from prompt_toolkit.application import run_in_terminal

from snapshot.repl.timemachine import TimeMachine


class News:
    """Takes the prompt away only if there is something to tell: most messages are for others."""

    def __init__(self, machine: TimeMachine, app: Any) -> None:
        """app: the application of the prompt, which lasts; None where it is no such prompt."""
        self._machine, self._app = machine, app
        self._untold: list[str] = []
        if app is not None:
            app.after_render += lambda _: self._show_what_drawing_met()

    def listen_at_next_prompt(self) -> None:
        """While that waits for keys."""
        if self._app is not None:
            self._app.pre_run_callables.append(self._listen)

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._machine.fileno(), lambda: loop.create_task(self._show()))

    def tell(self) -> None:
        """What there is, at once."""
        self._untold += self._machine.news()
        self._print()

    async def _show(self) -> None:
        self._untold += self._machine.news()
        if self._untold:
            await run_in_terminal(self._print)

    def _print(self) -> None:
        lines, self._untold = self._untold, []
        for line in lines:
            print(line, file=sys.__stderr__, flush=True)

    def _show_what_drawing_met(self) -> None:
        """A toolbar asks for the futures, and may get the message that there is news before."""
        if self._machine.has_news:
            self._app.create_background_task(self._show())
