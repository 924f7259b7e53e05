"""What a frozen process is asked: about its variables, its value, its code.

It is answered in a copy of that process, which ends afterwards: to look at a value writes to its
memory, and pickling one may run anything. The answer goes into a file that the asker maps.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import reprlib
import sys
from collections.abc import Callable, Mapping
from pickle import PickleBuffer
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

from snapshot import pickling
from snapshot.core import hosts, inside, line, process
from snapshot.core.disposable import unpacked
from snapshot.core.job import Job, Outcome
from snapshot.core.limits import Limits
from snapshot.core.process import Exit
from snapshot.errors import NotPicklable

_OWN = {"IPython", "ptpython", __name__.partition(".")[0]}
_OF_IPYTHON = re.compile("In|Out|_[ido]h|_i{1,3}|_i[0-9]+")


class About(NamedTuple):
    """What a state knows of its cell.

    source: its code. value: of its last expression. error: that ended it. hidden: names that are
    left out of archives.
    """

    source: str = ""
    value: Any = None
    error: BaseException | None = None
    hidden: frozenset[str] = frozenset()


class Variable(NamedTuple):
    """A variable as it is listed.

    size: bytes of the object itself, without what it refers to; of an array or a frame, its data.
    """

    type: str
    size: int


class Unavailable(NamedTuple):
    """What stands for a value that cannot leave its process."""

    type: str
    repr: str
    reason: str

    def __repr__(self) -> str:
        return f"<{self.type}, only there: {self.repr}: {self.reason}>"


class Stored(NamedTuple):
    """A variable in an archive.

    type and size are those of a `Variable`; pickle: the digest of its pickle; buffers: those of
    what is out of band; unavailable: what stands for one that cannot be pickled.
    """

    type: str
    size: int
    pickle: str | None
    buffers: tuple[str, ...] = ()
    unavailable: Unavailable | None = None


def variables(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of the program and of the cells: no module, nothing of Python's or ours."""
    hidden = hosts.hidden()
    found = {
        name: value
        for name, value in namespace.items()
        if _is_variable(name, value) and hidden.get(name, hidden) is not value
    }
    if "_ih" in namespace and namespace.get("In") is namespace["_ih"]:
        found = {name: found[name] for name in found if not _OF_IPYTHON.fullmatch(name)}
        if getattr(found.get("open"), "__wrapped__", None) is open:
            del found["open"]
    return found


def _is_variable(name: str, value: Any) -> bool:
    if not isinstance(name, str):  # `globals()` takes anything
        return False
    if name.startswith("__") or name == "_" or (name[:1] == "_" and name[1:].isdecimal()):
        return False
    if issubclass(type(value), ModuleType):
        return False
    home = type(value).__module__
    with contextlib.suppress(Exception):
        home = value.__module__ or home
    return str(home).partition(".")[0] not in _OWN


def described(value: Any) -> Variable:
    """How it is listed."""
    kind = type(value)
    name = kind.__qualname__
    size: Any = None
    with contextlib.suppress(Exception):
        size = value.nbytes
    if not isinstance(size, int) or isinstance(value, type):
        try:
            size = sys.getsizeof(value)
        except Exception:
            size = 0
    return Variable(name, size)


def answer(question: str, details: dict[str, Any], about: About, file: int, ended: int) -> NoReturn:
    """In a copy of the state that is asked: write the answer into the file, and end."""
    try:
        hush()
        namespace = vars(sys.modules["__main__"])
        call = functools.partial(_QUESTIONS[question], namespace, about, **details)
        reply(question, call, file, ended)
    finally:
        process.exit_now(Exit(code=1))


def hush() -> None:
    """From now on nobody sees what this copy writes, and it has nothing to read."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    if nothing > 2:
        os.close(nothing)
    line.here.dispose()


def reply(question: str, call: Callable[[], Any], file: int, ended: int) -> NoReturn:
    """Write what the call returns, or raises, into the file, and end.

    ended: a descriptor that is closed then; the system does that after it has freed all memory.
    """
    try:
        how = inside.work(_job(question, call), file, _made_in_cells)
        os.close(ended)
        process.exit_now(how)
    finally:
        process.exit_now(Exit(code=1))


def outcome(question: str, pid: int, file: int) -> Outcome | None:
    """What was answered; None if the process ended without."""
    record = pickling.read(file)
    return None if record is None else unpacked(_job(question, int), pid, *record)


def _job(question: str, call: Callable[[], Any]) -> Job:
    return Job(f"the question {question!r} to a state", call, Limits())


def _made_in_cells(named: Any) -> bool:
    """Classes and functions of the program travel by value: the asker's may be others by now."""
    return bool(named.__module__ == "__main__")


def _listing(namespace: dict[str, Any], about: About) -> dict[str, Variable]:
    return {name: described(value) for name, value in variables(namespace).items()}


def _value(namespace: dict[str, Any], about: About, name: str) -> Any:
    return _available(variables(namespace)[name])


def _answer(namespace: dict[str, Any], about: About) -> Any:
    if about.error is not None:
        raise about.error
    return _available(about.value)


def _source(namespace: dict[str, Any], about: About) -> str:
    return about.source


def _available(value: Any) -> Any:
    try:
        pickling.dump(value, lacks=_made_in_cells)
    except NotPicklable as error:
        return unavailable(value, error)
    return value


def unavailable(value: Any, error: NotPicklable) -> Unavailable:
    """What is told of a value that cannot be pickled."""
    try:
        text = reprlib.repr(value)
    except Exception as problem:
        text = f"(its repr raised {type(problem).__name__})"
    return Unavailable(type(value).__qualname__, text, str(error))


def _contents(
    namespace: dict[str, Any], about: About, known: frozenset[str]
) -> tuple[dict[str, Stored], dict[str, PickleBuffer]]:
    """All variables by content, and those of the pieces that are not known yet."""
    stored: dict[str, Stored] = {}
    pieces: dict[str, PickleBuffer] = {}
    for name, value in variables(namespace).items():
        if name not in about.hidden:
            stored[name] = store(value, known, pieces)
    return stored, pieces


def _digests(namespace: dict[str, Any], about: About) -> dict[str, Stored]:
    pieces: dict[str, PickleBuffer] = {}
    none = frozenset[str]()
    return {name: store(each, none, pieces) for name, each in variables(namespace).items()}


def store(value: Any, known: frozenset[str], pieces: dict[str, PickleBuffer]) -> Stored:
    """A value by content: new pieces of it are added to `pieces`."""
    listed = described(value)
    try:
        data, buffers = pickling.dump(value, lacks=_made_in_cells)
    except NotPicklable as error:
        return Stored(*listed, None, (), unavailable(value, error))
    digests = []
    for part in (memoryview(data), *buffers):
        digest = hashlib.sha256(part).hexdigest()
        if digest not in known and digest not in pieces:
            pieces[digest] = PickleBuffer(part)
        digests.append(digest)
    return Stored(*listed, digests[0], tuple(digests[1:]))


_QUESTIONS: dict[str, Callable[..., Any]] = {
    "answer": _answer,
    "contents": _contents,
    "digests": _digests,
    "listing": _listing,
    "source": _source,
    "value": _value,
}
