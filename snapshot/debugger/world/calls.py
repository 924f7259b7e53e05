"""The kinds of calls that reach the world, and what stands in the place of each.

A kind makes, from the name of a call and the original function, the function that replaces it.
While the debugger works, and in other threads, each does what the original does.

None calls what the standard library has in Python (`contextlib`, say), unless the original does so:
that may be watched, too, and a repeat would come to more events than there were.
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable, Iterable
from typing import Any

from snapshot.debugger.room import with_room
from snapshot.debugger.world import descriptors, reading
from snapshot.debugger.world.boundary import Boundary
from snapshot.debugger.world.choosing import Function, Kind, noted, replaced, unseen


def plain(b: Boundary, name: str, original: Function) -> Function:
    """In a repeat nothing is done, and what came of it then comes of it again."""
    take, note, note_error = with_room(b.take), with_room(b.note), with_room(b.note_error)

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            if b.aside or get_ident() != b.thread:
                return original(*args, **kwargs)
            if b.repeating:
                return take(name)
            try:
                outcome = original(*args, **kwargs)
            except (Exception, KeyboardInterrupt) as error:
                note_error(name, error)
                raise
            note(name, outcome)
            return outcome
        except BaseException as error:
            unseen(error)
            raise

    return call


def on_paths(b: Boundary, name: str, original: Function) -> Function:
    """Plain; the paths of objects are asked for in a repeat, too: they may be the program's own."""

    def repeated(*args: Any, **kwargs: Any) -> Any:
        descriptors.ask_paths(b, name, (*args, *kwargs.values()))
        return b.take(name)

    return replaced(b, original, noted(b, name, original), repeated)


def also(b: Boundary, name: str, original: Function) -> Function:
    """It is done in a repeat, too, as far as it can be: it is a state of the process."""

    def repeated(*args: Any, **kwargs: Any) -> Any:
        outcome = b.take(name)
        try:
            original(*args, **kwargs)
        except Exception:
            return outcome
        return outcome

    return replaced(b, original, noted(b, name, original), repeated)


def quietly(b: Boundary, name: str, original: Function) -> Function:
    """It is done, and not remembered: it may happen whenever an object goes away.

    In a repeat the system does not refuse it, whatever the descriptor is.
    """

    def repeated(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except OSError:
            return None

    return replaced(b, original, original, repeated)


def aside(b: Boundary, name: str, original: Function) -> Function:
    """It is done in a repeat, too, and what it does inside is not remembered."""

    def done(*args: Any, **kwargs: Any) -> Any:
        return b.unheard(original, *args, **kwargs)

    return replaced(b, original, done, done)


def forking(b: Boundary, name: str, original: Function) -> Function:
    """Plain; nothing is remembered in the child, which is no part of the program."""

    def remembered(*args: Any, **kwargs: Any) -> Any:
        try:
            outcome = b.unheard(original, *args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:
            b.note_error(name, error)
            raise
        # What a fork gives the child is 0, alone or with a descriptor.
        if outcome == 0 or (isinstance(outcome, tuple) and outcome[0] == 0):
            b.thread = 0
            b.garbage.leave()
        else:
            b.note(name, outcome)
        return outcome

    def repeated(*args: Any, **kwargs: Any) -> Any:
        outcome = b.take(name)
        if isinstance(outcome, tuple):
            return outcome[0], descriptors.placeholder(b, outcome[1])
        return outcome

    return replaced(b, original, remembered, repeated)


def starts_thread(b: Boundary, name: str, original: Function) -> Function:
    """It is done; who watches the program hears of it before. What threads do is not repeated."""

    def started(function: Any, *args: Any, **kwargs: Any) -> Any:
        b.accompanied(_name_of(function))
        return original(function, *args, **kwargs)

    return replaced(b, original, started, started)


def _name_of(function: Any) -> str:
    """The name of the thread that runs it."""
    thread = getattr(function, "__self__", None)
    return str(getattr(thread, "name", None) or getattr(function, "__qualname__", function))


def reads_clock(position: int) -> Kind:
    """Plain where no time is given at this position; else it only computes."""

    def computes(args: tuple[Any, ...]) -> bool:
        return len(args) > position and args[position] is not None

    def kind(b: Boundary, name: str, original: Function) -> Function:
        def remembered(*args: Any) -> Any:
            return original(*args) if computes(args) else b.do(name, original, *args)

        def repeated(*args: Any) -> Any:
            return original(*args) if computes(args) else b.take(name)

        return replaced(b, original, remembered, repeated)

    return kind


def gives_descriptor(b: Boundary, name: str, original: Function) -> Function:
    """In a repeat a descriptor with the same number leads nowhere."""

    def repeated(*args: Any, **kwargs: Any) -> Any:
        return descriptors.placeholder(b, b.take(name))

    return replaced(b, original, noted(b, name, original), repeated)


def gives_descriptors(b: Boundary, name: str, original: Function) -> Function:
    """The same for a tuple of them."""

    def repeated(*args: Any, **kwargs: Any) -> Any:
        return tuple([descriptors.placeholder(b, each) for each in b.take(name)])

    return replaced(b, original, noted(b, name, original), repeated)


def gives_data(offset: int | None) -> Kind:
    """It reads from the descriptor that is its first argument; offset: the argument that says
    where from."""

    def kind(b: Boundary, name: str, original: Function) -> Function:
        def remembered(*args: Any, **kwargs: Any) -> Any:
            try:
                data = original(*args, **kwargs)
            except (Exception, KeyboardInterrupt) as error:
                b.note_error(name, error)
                raise
            b.note(
                name, reading.kept(data, args[0], None if offset is None else args[offset], b.began)
            )
            return data

        def repeated(*args: Any, **kwargs: Any) -> Any:
            return reading.given(b, name, b.take(name), args[0], moves=offset is None)

        return replaced(b, original, remembered, repeated)

    return kind


def fills(
    buffers: Callable[..., Iterable[Any]],
    length: Callable[[Any], int] = lambda outcome: outcome,
    descriptor: Callable[..., int] | None = None,
) -> Kind:
    """It fills buffers that it is given; what it returns says how far.

    buffers: those, from its arguments. length: how far, from what it returns. descriptor: what it
    reads from at its own position, if it is a file.
    """

    def kind(b: Boundary, name: str, original: Function) -> Function:
        def remembered(*args: Any, **kwargs: Any) -> Any:
            try:
                outcome = original(*args, **kwargs)
            except (Exception, KeyboardInterrupt) as error:
                b.note_error(name, error)
                raise
            data: Any = b""
            if outcome is not None and length(outcome):
                data = _gathered(buffers(*args, **kwargs), length(outcome))
                if descriptor is not None:
                    data = reading.kept(data, descriptor(*args), None, b.began)
            b.note(name, (outcome, data))
            return outcome

        def repeated(*args: Any, **kwargs: Any) -> Any:
            outcome, data = b.take(name)
            if descriptor is not None and data:
                data = reading.given(b, name, data, descriptor(*args), moves=True)
            _spread(buffers(*args, **kwargs), data)
            return outcome

        return replaced(b, original, remembered, repeated)

    return kind


def _gathered(buffers: Iterable[Any], length: int) -> bytes:
    parts = []
    for each in buffers:
        view = memoryview(each).cast("B")[:length]
        parts.append(bytes(view))
        length -= len(view)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _spread(buffers: Iterable[Any], data: bytes) -> None:
    start = 0
    for each in buffers:
        view = memoryview(each).cast("B")
        part = data[start : start + len(view)]
        view[: len(part)] = part
        start += len(part)
