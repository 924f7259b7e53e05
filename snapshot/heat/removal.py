"""Removal: functions are taken out of the text of an application, and nothing else of it changes.

What is removed is the definition with its decorators and the comments right above it, and imports
of it that would break: not where another one of that name is found instead. What else leads to it
stops the removal unless it is forced; then it is taken out of `__all__`, and a comment above each
of the other places says what they miss.
"""

from __future__ import annotations

import difflib
import io
import tokenize
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from snapshot.errors import CannotRead, UsageError
from snapshot.heat.inventory import Function, Inventory
from snapshot.heat.references import (
    ALL,
    ALL_STAYS,
    IMPORT,
    STAYS,
    UNPARSED,
    UNREAD,
    Reference,
    references_to,
)
from snapshot.heat.writing import optional

if TYPE_CHECKING:
    from snapshot.heat.editing import Edits

Coldness = Callable[[str], bool | None]

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Removal:
    """What would be done.

    functions: those to remove. stops: each reason not to, of each of them. changes: the contents of
    files, from the root, before and after.
    """

    functions: tuple[Function, ...]
    stops: tuple[tuple[Function, Reference], ...]
    changes: dict[str, tuple[bytes, bytes]]

    def diff(self) -> str:
        """It as a unified diff."""
        changes = sorted(self.changes.items())
        return "".join(diff(path, before, after) for path, (before, after) in changes)


@dataclass(slots=True)
class _Wanted:
    """What is to be edited in a file, by lines."""

    functions: dict[int, str] = field(default_factory=dict)
    imports: set[tuple[int, str]] = field(default_factory=set)
    exports: set[tuple[int, str]] = field(default_factory=set)
    notes: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))


def plan(
    inventory: Inventory,
    functions: Sequence[Function],
    *,
    is_cold: Coldness,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Removal:
    """What the removal of some functions would change. Nothing is written.

    is_cold: whether a function, by its name in the inventory, was never called; None if nobody
    knows. force: edit what else leads to them, too. progress: called with the number of files done,
    and of all, while they are searched, and again while they are edited.

    Raises `UsageError` for a lambda, and where LibCST is missing; `CannotRead` for a file that it
    cannot read or that would not compile afterwards.
    """
    optional("libcst", "remove functions")
    for each in functions:
        if each.kind == "lambda":
            raise UsageError(
                f"{inventory.name_of(each)} is a part of an expression: edit {each.path}:"
                f"{each.line} by hand"
            )
    found = references_to(inventory, functions, together=True, progress=progress)
    stops = [(each, stop) for each in functions for stop in _warm(inventory, each, is_cold)]
    wanted: dict[str, _Wanted] = defaultdict(_Wanted)
    for function in functions:
        wanted[function.path].functions[function.line] = function.name
        for reference in found[function]:
            if reference.kind == IMPORT:
                wanted[reference.path].imports.add((reference.line, reference.name))
            elif reference.kind != STAYS:
                stops.append((function, reference))
                if force and reference.kind != ALL_STAYS:
                    _mark(wanted, inventory, function, reference)
    changes = {}
    for number, (path, edits) in enumerate(sorted(wanted.items())):
        if progress is not None:
            progress(number, len(wanted))
        changes[path] = _changed(inventory, path, edits)
    different = {path: both for path, both in changes.items() if both[0] != both[1]}
    return Removal(tuple(functions), tuple(stops), different)


def _warm(inventory: Inventory, function: Function, is_cold: Coldness) -> Iterable[Reference]:
    cold = is_cold(inventory.name_of(function))
    if not cold:
        why = "nothing is known of its calls" if cold is None else "it has been called"
        yield Reference(function.path, function.line, why, function.name)


def _mark(
    wanted: dict[str, _Wanted], inventory: Inventory, function: Function, reference: Reference
) -> None:
    can_be_edited = reference.path.endswith(".py") and reference.kind not in (UNREAD, UNPARSED)
    here = (function.path, function.line)
    if not can_be_edited or (reference.path, reference.line) == here:
        return
    edits = wanted[reference.path]
    if reference.kind == ALL:
        edits.exports.add((reference.line, reference.name))
    elif (name := inventory.name_of(function)) not in edits.notes[reference.line]:
        edits.notes[reference.line].append(name)


def _changed(inventory: Inventory, path: str, wanted: _Wanted) -> tuple[bytes, bytes]:
    from snapshot.heat.editing import edited

    file = inventory.root / path
    if not file.resolve().is_relative_to(inventory.root.resolve()):
        raise CannotRead(
            f"{path} is a link that leads out of the application: what is there is not edited "
            "from here"
        )
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CannotRead(f"{path} cannot be read: {error.strerror}") from None
    bom = _BOM if data.startswith(_BOM) else b""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        encoding = encoding.removesuffix("-sig")
        text = data.removeprefix(bom).decode(encoding)
        after = bom + edited(text, _edits(wanted)).encode(encoding)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(after, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        first = reason.strip().partition("\n")[0]
        raise CannotRead(f"{path} cannot be edited, and nothing was written: {first}") from None
    return data, after


def _edits(wanted: _Wanted) -> Edits:
    from snapshot.heat.editing import Edits

    notes = {
        line: [f"# TODO: {each} was removed" for each in names]
        for line, names in wanted.notes.items()
    }
    return Edits(wanted.functions, wanted.imports, wanted.exports, notes)


def diff(path: str, before: bytes, after: bytes) -> str:
    """What changes in a file, as a unified diff."""
    old, new = (_lines(each.decode("utf-8", "replace")) for each in (before, after))
    return "".join(
        each if each.endswith("\n") else f"{each}\n\\ No newline at end of file\n"
        for each in difflib.unified_diff(old, new, f"a/{path}", f"b/{path}")
    )


def _lines(text: str) -> list[str]:
    """With their ends; only a line feed ends one."""
    *lines, last = text.split("\n")
    return [*(f"{each}\n" for each in lines), *([last] if last else [])]
