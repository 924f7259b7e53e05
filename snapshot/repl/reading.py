"""How ptpython's application reads a line: what helps the typist, and what interrupts it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory

PAUSE = 0.08  # seconds without a key after which somebody may want to be helped
_AT_A_TIME = 1000  # lines of the history


def run_in_thread(app: Application[str], run: Callable[..., str], **options: Any) -> str:
    """Also end it when SIGINT comes from elsewhere than its terminal.

    It runs in a thread of its own, and would go on when the main one is interrupted.
    """

    before = threading.enumerate()
    try:
        return run(**options)
    except KeyboardInterrupt:
        # Not by `is_alive`: an interrupted `join` has marked it as ended.
        while any(
            "run_in_thread" in each.name for each in threading.enumerate() if each not in before
        ):
            with contextlib.suppress(KeyboardInterrupt):
                if app.loop is not None:
                    app.loop.call_soon_threadsafe(interrupt, app)
                time.sleep(0.01)
        raise


def interrupt(app: Application[str]) -> None:
    """In the loop of an application: as Ctrl-C does."""
    if app.is_running and app.future is not None and not app.future.done():
        app.exit(exception=KeyboardInterrupt())


class LineHistory(FileHistory):
    """The lines of a file, read by no thread, which a fork would leave behind."""

    async def load(self) -> AsyncGenerator[str, None]:
        number = 0
        async for line in super().load():
            yield line
            number += 1
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)  # for the keys that are typed meanwhile


class AfterPause(Completer):
    """Completions, but not before there is a pause in the typing.

    What a line is completed with costs a tenth of a second of processor time and writes to several
    MiB, which the state before it would have to keep; for a line that is pasted it is in vain.
    """

    def __init__(self, buffer: Buffer) -> None:
        """For what is typed in this buffer, by the completer that it has."""
        self._buffer, self._completer = buffer, buffer.completer

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        return self._completer.get_completions(document, event)

    async def get_completions_async(
        self, document: Document, event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        if not event.completion_requested:
            await asyncio.sleep(PAUSE)
            if self._buffer.document != document:
                return
        async for each in self._completer.get_completions_async(document, event):
            yield each
