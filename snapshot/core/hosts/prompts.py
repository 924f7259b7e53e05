"""Prompts: what they have read ahead, and their history."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any

from snapshot.core import census
from snapshot.core.hosts.host import Host, Tell


class PromptToolkit(Host):
    """ptpython and IPython: keys read ahead are handed over and back, and so is the history."""

    module = "prompt_toolkit.history"
    threads = ("asyncio_",)

    def before(self) -> Any:
        census.look()
        histories = census.known(sys.modules[self.module].History)
        # IPython's adapter reads its lines from a database, see below.
        return {id(each): each for each in histories if not hasattr(each, "_refresh")}

    def in_experiment(self, memo: Any, tell: Tell) -> None:
        self._tell = tell
        for history in memo.values():
            if "append_string" not in vars(history):
                self._listen(history)

    def _listen(self, history: Any) -> None:
        append = history.append_string

        def append_string(string: str) -> None:
            append(string)
            self._tell(("line", id(history), string))

        history.append_string = append_string

    def at_end(self, memo: Any, tell: Tell) -> None:
        typeahead = self._typeahead()
        tell(("keys", dict(typeahead._buffer)))

    def back(self, memo: Any, told: Sequence[Any]) -> None:
        typeahead = self._typeahead()
        typeahead._buffer.clear()
        for kind, *rest in told:
            if kind == "keys":
                typeahead._buffer.update(rest[0])
            elif (history := memo.get(rest[0])) is not None:
                history._loaded_strings.insert(0, rest[1])
                if hasattr(self, "_tell"):
                    self._tell((kind, *rest))

    def load_again(self) -> None:
        """What was typed elsewhere since is in the files of the histories."""
        for history in self.before().values():
            _load_again(history)

    def _typeahead(self) -> Any:
        import prompt_toolkit.input.typeahead as typeahead

        return typeahead


class Readline(Host):
    """The lines that the experiment reads through GNU readline: python's prompt, pdb, `input`.

    Each is told when the next prompt appears, so that a kill costs at most the last one.
    """

    module = "readline"

    def in_experiment(self, memo: Any, tell: Tell) -> None:
        readline = self._readline()
        self._told = readline.get_current_history_length()
        readline.set_startup_hook(lambda: self._tell_new(tell))

    def at_end(self, memo: Any, tell: Tell) -> None:
        self._tell_new(tell)

    def back(self, memo: Any, told: Sequence[Any]) -> None:
        for line in told:
            self._readline().add_history(line)

    def _tell_new(self, tell: Tell) -> None:
        readline = self._readline()
        length = readline.get_current_history_length()
        for index in range(self._told, length):
            tell(readline.get_history_item(index + 1))
        self._told = length

    def _readline(self) -> Any:
        return sys.modules[self.module]


class Pyrepl(Host):
    """The prompt of Python 3.13+: it reads far ahead, and keeps its history in a list."""

    module = "_pyrepl.readline"

    def before(self) -> Any:
        return self._reader()

    def in_experiment(self, memo: Any, tell: Tell) -> None:
        reader = memo
        if reader is None:
            return
        self._told = len(reader.history)
        prepare = reader.prepare

        def prepare_and_tell() -> None:
            self._tell_new(reader, tell)
            prepare()

        reader.prepare = prepare_and_tell

    def at_end(self, memo: Any, tell: Tell) -> None:
        if memo is not None:
            self._tell_new(memo, tell)
            tell(_unread(memo.console))

    def back(self, memo: Any, told: Sequence[Any]) -> None:
        if memo is None:
            return
        console = memo.console
        console.event_queue.events.clear()
        console.event_queue.flush_buf()
        console.input_buffer, console.input_buffer_pos = b"", 0
        for each in told:
            if isinstance(each, bytes):
                console.input_buffer = each
            else:
                memo.history.append(each)

    def _tell_new(self, reader: Any, tell: Tell) -> None:
        for line in reader.history[self._told :]:
            tell(line)
        self._told = len(reader.history)

    def _reader(self) -> Any:
        return sys.modules[self.module]._wrapper.reader


def _unread(console: Any) -> bytes:
    """The keys that a console of _pyrepl has read and not used, as the bytes they came as."""
    events = b"".join(bytes(each.raw) for each in console.event_queue.events)
    unread: bytes = getattr(console, "input_buffer", b"")[getattr(console, "input_buffer_pos", 0) :]
    return events + bytes(console.event_queue.buf) + unread


def _load_again(history: Any) -> None:
    """Unless it has still to be loaded for the first time, or a thread is about to do that."""
    thread = getattr(history, "_load_thread", history)
    if thread is history:
        if not history._loaded:
            return
    elif thread is None or thread in threading.enumerate():  # alive it seems, if it was just ending
        return
    else:
        history._lock = threading.Lock()  # which the thread may have had at the fork
    history._loaded_strings = list(history.load_history_strings())
    history._loaded = True
