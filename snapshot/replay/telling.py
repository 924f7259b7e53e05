"""A recorded call in words; nothing is loaded, values are shown as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from snapshot.errors import StoreError
from snapshot.store.objects import Placeholder

if TYPE_CHECKING:
    from snapshot.store import Store
    from snapshot.store.calls import Call, Stored


_BRIEF = 1 << 13  # bytes of arguments that are taken apart for one line


def in_words(store: Store, call: Call) -> str:
    """`add(1, 2, c=4)`; of large arguments their text as a whole, `add(((…),), {})`."""
    from snapshot.store.showing import text_of

    args, kwargs = store.calls.arguments(call, most=_BRIEF)
    shown = [*map(text_of, args), *(f"{name}={text_of(each)}" for name, each in kwargs.items())]
    if call.arguments is None:
        shown = ["not stored"]
    elif not shown and (whole := told(store, call.arguments)).text != "((), {})":
        shown = ["…" if whole.type == "?" else whole.text]  # damaged, or gone
    return f"{call.function.key.partition(':')[2]}({', '.join(shown)})"


def outcome(store: Store, call: Call) -> str:
    """What came of it, in a few words."""
    if call.failure is not None:
        return f"! {call.failure.type}: {call.failure.text}"
    if call.result is None:
        return call.outcome.name
    return told(store, call.result).text


class Told(NamedTuple):
    """What is shown of a value: its type and a short `repr`. stored: whether there is a value."""

    type: str
    text: str
    stored: bool = True


def told(store: Store, stored: Stored) -> Told:
    """What is shown of a value as a whole; of one that is gone, why."""
    try:
        shown = store.calls.show(stored)
    except StoreError as error:
        return Told("?", f"<{error}>", stored=False)
    return Told(shown.type, shown.text)


def arguments(store: Store, call: Call, *, after: bool = False) -> dict[str, str]:
    """What it was called with, by the names of parameters; `?` for what cannot be taken apart.

    after: what the arguments were when it ended, empty where they were the same.
    """
    return _texts(argument_values(store, call, after=after))


def argument_values(store: Store, call: Call, *, after: bool = False) -> dict[str, Told]:
    """The same with their types."""
    stored = call.after if after else call.arguments
    args, kwargs = store.calls.arguments(call, after=after)
    if stored is not None and not args and not kwargs:
        whole = told(store, stored)
        return {} if whole.text == "((), {})" else {"?": whole}
    names = [*call.function.facts["parameters"], *(f"*{n}" for n in range(len(args)))]
    return {name: _part(each) for name, each in zip(names, args, strict=False)} | {
        name: _part(each) for name, each in kwargs.items()
    }


def surroundings(store: Store, call: Call) -> dict[str, str]:
    """The globals and the cells that it read, by their names."""
    return _texts(surrounding_values(store, call))


def surrounding_values(store: Store, call: Call) -> dict[str, Told]:
    """The same with their types."""
    if call.surroundings is None:
        return {}
    try:
        found: Any = store.calls.read(call.surroundings)
    except (ValueError, StoreError):
        found = None
    if not isinstance(found, dict):
        return {"?": told(store, call.surroundings)}
    values = {name: _part(each) for name, each in found.get("globals", {}).items()}
    values |= {
        name: Told(kind, f"<{kind}, not stored>", stored=False)
        for name, kind in found.get("named", {}).items()
    }
    return values | {name: _part(each) for name, each in found.get("cells", {}).items()}


def _part(value: object) -> Told:
    from snapshot.store import showing

    if isinstance(value, Placeholder):
        return Told(value.type, showing.text_of(value), stored=False)
    return Told(showing.type_of(value), showing.text_of(value))


def _texts(values: dict[str, Told]) -> dict[str, str]:
    return {name: each.text for name, each in values.items()}
