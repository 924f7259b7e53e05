"""Two calls side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from snapshot.errors import UsageError
from snapshot.replay import telling
from snapshot.replay.executions import number_of
from snapshot.replay.telling import Told
from snapshot.store import Store
from snapshot.store.calls import Call
from snapshot.web.call import difference, result_of
from snapshot.web.pages import asked, render, site_of

_LONG = 20_000  # characters of a traceback


@dataclass(frozen=True)
class Row:
    """A value of each of two calls, None where there is none of that name."""

    name: str
    one: Told | None
    other: Told | None

    @property
    def differs(self) -> bool:
        """Whether they are not the same, as far as is shown."""
        return self.one != self.other


@dataclass(frozen=True)
class Section:
    """What two calls have of one sort. is_hidden: they differ, and in nothing that is shown."""

    title: str
    rows: list[Row]
    is_hidden: bool


def compare(request: Request) -> Response:
    """`GET /compare?one=ID&other=ID`; without another one, the one before it, or after it."""
    first, second = asked(request, "one"), asked(request, "other")
    if first is None:
        raise UsageError("which calls? give the id of one, and of the other")
    with site_of(request).store() as store:
        one = store.calls.get(number_of(first))
        if second is None:
            second = _neighbour(store, one)
        other = store.calls.get(number_of(second))
        sections = [
            _section(store, one, other, title, part)
            for title, part in (
                ("Called with", "arguments"),
                ("Which had become", "after"),
                ("What it read", "surroundings"),
                ("Result", "result"),
            )
        ]
    return render(
        request,
        "compare.html",
        one=one,
        other=other,
        sections=[each for each in sections if each.rows],
        differing=sum(each.is_hidden + sum(row.differs for row in each.rows) for each in sections),
        failures=_failures(one, other),
        source=_sources(one, other),
    )


def _neighbour(store: Store, call: Call) -> str:
    before, after = store.calls.neighbours(call.id)
    if before is None and after is None:
        raise UsageError(f"call {call.id} is the only one of {call.function.key}: give another id")
    return str(after if before is None else before)


def _section(store: Store, one: Call, other: Call, title: str, part: str) -> Section:
    ones, others = (_values(store, each, part) for each in (one, other))
    rows = [Row(name, ones.get(name), others.get(name)) for name in {**ones, **others}]
    is_same = getattr(one, part) == getattr(other, part)  # as bytes, or as an object of these
    return Section(title, rows, not is_same and not any(each.differs for each in rows))


def _values(store: Store, call: Call, part: str) -> Mapping[str, Told]:
    if part == "surroundings":
        return telling.surrounding_values(store, call)
    if part == "result":
        result = result_of(store, call)
        return {} if result is None else {call.outcome.name: result}
    if part == "after" and call.after is None:
        return {}
    return telling.argument_values(store, call, after=part == "after")


def _failures(one: Call, other: Call) -> list[str]:
    """The traceback of each, or nothing; empty where none has failed."""
    if one.failure is None and other.failure is None:
        return []
    return [
        "" if each.failure is None else each.failure.traceback[-_LONG:] for each in (one, other)
    ]


def _sources(one: Call, other: Call) -> str:
    """The difference of the functions' texts; empty where there is none."""
    first, second = ((each.function.facts["source"] or "") for each in (one, other))
    return difference(first, second, f"call {one.id}", f"call {other.id}")


ROUTES = [Route("/compare", compare)]
