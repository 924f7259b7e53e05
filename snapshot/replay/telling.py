"""A recorded call in words; nothing is loaded, values are shown as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snapshot.errors import StoreError

if TYPE_CHECKING:
    from snapshot.store import Store
    from snapshot.store.calls import Call


def in_words(store: Store, call: Call) -> str:
    """`add(1, 2, c=4)`."""
    from snapshot.store.showing import text_of

    args, kwargs = store.calls.arguments(call)
    shown = [*map(text_of, args), *(f"{name}={text_of(each)}" for name, each in kwargs.items())]
    if call.arguments is None:
        shown = ["not stored"]
    elif not shown and store.calls.show(call.arguments).text != "((), {})":
        shown = ["…"]  # too large to be read, or damaged
    return f"{call.function.key.partition(':')[2]}({', '.join(shown)})"


def outcome(store: Store, call: Call) -> str:
    """What came of it, in a few words."""
    if call.failure is not None:
        return f"! {call.failure.type}: {call.failure.text}"
    if call.result is None:
        return call.outcome.name
    return store.calls.show(call.result).text


def arguments(store: Store, call: Call, *, after: bool = False) -> dict[str, str]:
    """What it was called with, by the names of parameters; `?` for what cannot be taken apart.

    after: what the arguments were when it ended, empty where they were the same.
    """
    from snapshot.store.showing import text_of

    stored = call.after if after else call.arguments
    args, kwargs = store.calls.arguments(call, after=after)
    if stored is not None and not args and not kwargs:
        shown = store.calls.show(stored)
        return {} if shown.text == "((), {})" else {"?": shown.text}
    names = [*call.function.facts["parameters"], *(f"*{n}" for n in range(len(args)))]
    return {name: text_of(each) for name, each in zip(names, args, strict=False)} | {
        name: text_of(each) for name, each in kwargs.items()
    }


def surroundings(store: Store, call: Call) -> dict[str, str]:
    """The globals and the cells that it read, by their names."""
    from snapshot.store.showing import text_of

    if call.surroundings is None:
        return {}
    try:
        found: Any = store.calls.read(call.surroundings)
    except (ValueError, StoreError):
        found = None
    if not isinstance(found, dict):
        return {"?": store.calls.show(call.surroundings).text}
    told = {name: text_of(each) for name, each in found.get("globals", {}).items()}
    told |= {name: f"<{kind}, not stored>" for name, kind in found.get("named", {}).items()}
    return told | {name: text_of(each) for name, each in found.get("cells", {}).items()}
