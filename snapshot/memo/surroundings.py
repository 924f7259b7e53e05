"""Surroundings: all that decides what a function returns, beside its arguments.

That is its version, and what a version leaves out: the values of the globals, closure cells,
defaults and attributes of classes that it and all that it reaches read, the versions of the
installed packages, and that of Python.
"""

from __future__ import annotations

import abc
import builtins
import hashlib
import sys
from collections import deque
from collections.abc import Collection, Iterable, Iterator, KeysView, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib.machinery import EXTENSION_SUFFIXES
from itertools import chain, count, islice
from operator import is_
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from snapshot.errors import NotKeyable
from snapshot.memo.canonical import canonical
from snapshot.memo.imports import follow, imported_by, is_users_top, load, modules_of
from snapshot.memo.packages import version_of_package
from snapshot.store.bytecode import look_into
from snapshot.store.functions import key_of, underlying
from snapshot.store.versions import (
    Datum,
    Seen,
    Step,
    Versions,
    beyond,
    is_abstract,
    is_module_of_user,
    look_at,
    module_of,
    of_user,
    steps,
    told_by,
)

Subject = FunctionType | type

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

_FLAT = 256  # items of a container, up to which they are compared one by one
_SEARCHED = 1000  # objects in a value that are searched for functions and classes


@dataclass(frozen=True, slots=True)
class State:
    """What the surroundings of a function were at one moment.

    digest: of all the rest, 32 bytes, the same in each process. version: as `version_of` has it.
    values: digests of what is read, by its name. packages: their versions, by the names of their
    modules. unfollowed: a sentence for each thing that decides and cannot be followed.
    """

    digest: bytes
    version: bytes
    values: Mapping[str, bytes]
    packages: Mapping[str, str]
    unfollowed: tuple[str, ...]
    _reached: tuple[Subject, ...] = field(repr=False, compare=False)
    _data: Mapping[str, object] = field(repr=False, compare=False)

    def facts(self) -> dict[str, Any]:
        """All of it in a form that JSON has, for whoever compares two of them.

        Values and texts are shown as they are when this is called.
        """
        functions: dict[str, list[str | None]] = {}
        for each in self._reached:
            names = chain([_name_of(each)], (f"{_name_of(each)} ({n})" for n in count(2)))
            name = next(name for name in names if name not in functions)
            functions[name] = [_own_digest(each), _text_of(each)]
        return {
            "functions": functions,
            "values": {
                label: [digest.hex(), _short(self._data[label])]
                for label, digest in self.values.items()
            },
            "packages": dict(self.packages),
            "python": PYTHON,
            "unfollowed": list(self.unfollowed),
        }


class Surroundings:
    """What surrounds a function: anything that can be called, as it stands under the memoizer."""

    __slots__ = ("_ignored", "_subject", "_watch")

    def __init__(self, subject: object, ignored: Collection[str] = ()) -> None:
        """ignored: parameters whose defaults do not count where they are data that can change."""
        self._subject, self._ignored = subject, ignored
        self._watch: _Watch | None = None

    def state(self) -> State:
        """What they are now.

        As long as nothing was replaced this costs some tens of nanoseconds for each function and
        each name that is reached; a list, set or dictionary of plain items the same for each of
        these; and any other value that can change (an array, an instance, a nested list) is
        digested again at each call. Else all is looked at anew, as at first.

        It is the same object for as long as nothing that counts has changed. A module of the
        user's that a function imports when it runs is imported by this.
        """
        watch = self._watch
        if watch is None:
            watch = self._watch = _Survey(self._subject, self._ignored).watch()
        elif watch.changed():
            before, watch = watch.state, _Survey(self._subject, self._ignored).watch()
            if watch.state == before:
                watch.state = before
            self._watch = watch
        return watch.state


@dataclass(slots=True, eq=False)
class _Watch:
    """What is to be as it was for a state to hold."""

    state: State
    functions: list[tuple[FunctionType, CodeType, object, object]]
    classes: list[tuple[type, type, tuple[type, ...]]]
    names: list[Step]
    absent: list[tuple[KeysView[str], tuple[str, ...]]]
    cells: list[tuple[CellType, object]]
    items: list[tuple[Collection[object], tuple[object, ...]]]
    digested: list[tuple[object, bytes]]
    registered: object  # None where no abstract class is reached
    settled: bool

    def changed(self) -> bool:
        try:
            for function, code, defaults, keywords in self.functions:
                if (
                    function.__code__ is not code
                    or function.__defaults__ is not defaults
                    or function.__kwdefaults__ is not keywords
                ):
                    return True
            for cls, kind, order in self.classes:
                if type(cls) is not kind or cls.__mro__ is not order:
                    return True
            for space, name, value in self.names:
                if space[name] is not value:
                    return True
            for keys, names in self.absent:
                if not keys.isdisjoint(names):
                    return True
            for cell, value in self.cells:
                if cell.cell_contents is not value:
                    return True
            for view, kept in self.items:
                if len(view) != len(kept) or (kept and not all(map(is_, view, kept))):
                    return True
            for value, digest in self.digested:
                if _digest_of(value) != digest:
                    return True
            if self.registered is not None and self.registered != abc.get_cache_token():
                return True
        except (KeyError, ValueError, RuntimeError, NotKeyable):
            return True  # a name or the content of a cell is gone, a container grew meanwhile
        return not self.settled


def _digest_of(value: object, name: str = "", installed: set[str] | None = None) -> bytes:
    """Of what means nothing in another process, wherever it is in a value, the type counts."""
    written = canonical(value, name=name, installed=installed, left_out=[])
    return hashlib.sha256(written).digest()


class _Survey:
    """One walk through all that is reached, in an order that the version decides."""

    def __init__(self, subject: object, ignored: Collection[str]) -> None:
        self._subject = subject
        function = underlying(subject)
        key = "" if function is None else key_of(function)
        self._ignored = {f"{key} default {each}" for each in ignored}
        self._waiting: deque[Subject] = deque()
        self._reached: dict[int, Subject] = {}
        self._number = 0  # of the one that is looked at
        self._versions = Versions()
        self._parts: list[object] = []  # of the digest
        self._digests: dict[int, bytes] = {}
        self._values: dict[str, bytes] = {}
        self._data: dict[str, object] = {}
        self._packages: dict[str, str] = {}
        self._unfollowed: dict[str, None] = {}
        self._functions: list[tuple[FunctionType, CodeType, object, object]] = []
        self._classes: list[tuple[type, type, tuple[type, ...]]] = []
        self._names: dict[tuple[int, str], Step] = {}
        self._absent: dict[int, tuple[KeysView[str], dict[str, None]]] = {}
        self._cells: list[tuple[CellType, object]] = []
        self._items: list[tuple[Collection[object], tuple[object, ...]]] = []
        self._digested: list[tuple[object, bytes]] = []
        self._registered: object = None
        self._settled = True

    def watch(self) -> _Watch:
        version = self._begin()
        while self._waiting:
            self._number += 1
            subject = self._waiting.popleft()
            if isinstance(subject, FunctionType):
                self._watch_function(subject)
            else:
                self._classes.append((subject, type(subject), subject.__mro__))
                self._watch_space(vars(subject))
                if issubclass(subject, Enum):
                    for member in subject.__members__.values():
                        self._watch_space(vars(member))
                if is_abstract(subject):
                    self._registered = abc.get_cache_token()
            self._take(look_at(subject))
        return _Watch(
            self._state(version),
            self._functions,
            self._classes,
            list(self._names.values()),
            [(keys, tuple(names)) for keys, names in self._absent.values()],
            self._cells,
            self._items,
            self._digested,
            self._registered,
            self._settled,
        )

    def _begin(self) -> bytes:
        """The version of the subject, from which the walk begins."""
        subject = self._subject
        if isinstance(subject, FunctionType | type) and of_user(module_of(subject)):
            self._reach([subject])
            return self._versions.of(subject)
        self._follow(subject, "", "the function")
        function = underlying(subject)
        if function is not None:
            return self._versions.of(function)
        return hashlib.sha256(repr(self._parts).encode()).digest()

    def _state(self, version: bytes) -> State:
        whole = [PYTHON, version, self._parts, sorted(self._packages.items())]
        return State(
            hashlib.sha256(repr(whole).encode()).digest(),
            version,
            self._values,
            self._packages,
            tuple(self._unfollowed),
            tuple(self._reached.values()),
            self._data,
        )

    def _reach(self, subjects: Iterable[Subject]) -> None:
        for each in subjects:
            if id(each) not in self._reached:
                self._reached[id(each)] = each
                self._waiting.append(each)
                self._count_compiled(each.__module__)

    def _take(self, seen: Seen) -> None:
        self._reach(seen.targets)
        for each in seen.installed:
            self._count_package(each)
        for datum in seen.data:
            self._count(datum)

    def _follow(self, value: object, home: str, name: str) -> None:
        """Count what no version knows of."""
        seen = Seen([])
        seen.at(home, name)
        seen.add(name, value)
        self._parts += [seen.form, [self._versions.of(each) for each in seen.targets]]
        self._take(seen)

    # Values.

    def _count(self, datum: Datum) -> None:
        if _does_not_count(datum.value) or f"{datum.home}{datum.name}" in self._ignored:
            return
        self._count_package(datum.value)
        label = self._label(f"{datum.home}{datum.name}", datum.value)
        digest = self._digests.get(id(datum.value))
        if digest is None:
            digest = self._digests[id(datum.value)] = self._digest(label, datum.value)
        self._parts.append([self._number, datum.name, digest])
        self._values[label] = digest
        self._data[label] = datum.value

    def _label(self, label: str, value: object) -> str:
        """With a number, where another value has the same: two closures of one function."""
        labels = chain([label], (f"{label} ({number})" for number in count(2)))
        return next(each for each in labels if self._data.get(each, value) is value)

    def _digest(self, label: str, value: object) -> bytes:
        installed: set[str] = set()
        try:
            canonical(value, name=label)
        except NotKeyable as error:
            self._name(f"{label} counts {'in part ' * bool(error.path)}by its type alone: {error}")
            if not error.path:
                return hashlib.sha256(_name_of(type(value)).encode()).digest()
        try:
            digest = _digest_of(value, label, installed)
        except NotKeyable as error:  # it is changed while it is looked at, by another thread
            self._name(f"{label} counts by its type alone: {error}")
            return hashlib.sha256(_name_of(type(value)).encode()).digest()
        for top in installed:
            self._count_top(top)
        if not _is_fixed(value):
            views = _views_of(value)
            for view in views:
                self._watch_items(view)
            if not views:
                self._digested.append((value, digest))
        leads = list(_leads_of(value))
        self._parts.append([self._versions.of(each) for each in leads])
        self._reach(leads)
        return digest

    def _watch_items(self, view: Collection[object]) -> None:
        self._items.append((view, tuple(view)))

    def _watch_space(self, space: Mapping[str, object]) -> None:
        """Names, too: one may take the place of another."""
        self._watch_items(space.values())
        if space:
            self._watch_items(space.keys())

    # Functions.

    def _watch_function(self, function: FunctionType) -> None:
        code, keywords = function.__code__, function.__kwdefaults__
        self._functions.append((function, code, function.__defaults__, keywords))
        if keywords:
            self._watch_items(keywords.values())
        self._watch_space(vars(function))
        cells: dict[str, object] = {}
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                cells[name] = cell.cell_contents
                self._cells.append((cell, cells[name]))
            except ValueError:  # it is empty yet
                self._settled = False
        for word in look_into(code).words:
            self._name(f"{key_of(function)} reads {word}: {_WORDS[word]}")
        for reach in look_into(code).reaches:
            self._watch_names(function, cells if reach.free else None, reach.names)
        for module in modules_of(function):
            self._import(function, module)
        for names in imported_by(function):
            self._follow_import(function, names)

    def _watch_names(
        self, function: FunctionType, own: Mapping[str, Any] | None, names: Sequence[str]
    ) -> None:
        """own: where the first name is looked up, if that is not to be watched: not the globals."""
        space: Mapping[str, Any] = function.__globals__ if own is None else own
        taken = list(steps(space, names))
        for step in taken if own is None else taken[1:]:
            self._watch_step(step)
        if taken:
            self._watch_rest(function, taken, names[len(taken) :])
        elif own is None:
            self._name_builtin(function, names)
            self._watch_attribute(space, names)

    def _watch_rest(
        self, function: FunctionType, taken: Sequence[Step], rest: Sequence[str]
    ) -> None:
        """What is read of the last thing that a way led to."""
        last = taken[-1][2]
        self._name_what_is_not_followed(function, last, rest)
        for space, name in beyond(last, rest):
            self._watch_attribute(space, [name])

    def _watch_step(self, step: Step) -> None:
        self._names[id(step[0]), step[1]] = step
        if issubclass(type(step[2]), ModuleType):
            self._count_package(step[2])

    def _watch_attribute(self, space: Mapping[str, Any], names: Sequence[str]) -> None:
        """Of a module, whether it is there or may be there later."""
        for name in names[:1]:
            if name in space:
                self._watch_step((space, name, space[name]))
            else:
                self._absent.setdefault(id(space), (space.keys(), {}))[1][name] = None

    def _import(self, function: FunctionType, name: str) -> None:
        """As the function would, if the module is the user's."""
        top = name.partition(".")[0]
        if not is_users_top(top):
            self._count_top(top)
        elif error := load(name):
            told = f"{type(error).__name__}: {error}"
            self._name(f"{key_of(function)} imports {name}, which cannot be imported: {told}")

    def _follow_import(self, function: FunctionType, names: tuple[str, ...]) -> None:
        """What a function imports when it runs counts as if its module had imported it."""
        taken = follow(names)
        if not taken:
            self._name_by_words(function, ".".join(names))
            return
        for step in taken:
            self._watch_step(step)
        self._watch_rest(function, taken, names[len(taken) :])
        self._follow(taken[-1][2], f"{names[0]}.", taken[-1][1])

    # What is installed.

    def _count_package(self, value: object) -> None:
        module = module_of(value)
        if of_user(module):
            self._count_compiled(module)
        else:
            self._count_top(module.partition(".")[0])

    def _count_top(self, top: str) -> None:
        if top in sys.stdlib_module_names or top in self._packages or top == _OURS:
            return
        version = version_of_package(top)
        self._packages[top] = version or "?"
        if version is None:
            self._name(f"nothing tells the version of {top}")

    def _count_compiled(self, module: str) -> None:
        """Of the user's modules those that are not of Python."""
        file = str(getattr(sys.modules.get(module), "__file__", None))
        if module not in self._packages and file.endswith(tuple(EXTENSION_SUFFIXES)):
            self._packages[module] = _digest_of_file(file)
            self._name(f"{module} is compiled: it counts by the digest of its file")

    # What cannot be followed.

    def _name(self, sentence: str) -> None:
        self._unfollowed[sentence] = None

    def _name_builtin(self, function: FunctionType, names: Sequence[str]) -> None:
        name = names[0]
        if name not in _BUILTINS and hasattr(builtins, name):
            self._name(f"{key_of(function)} reads {name}, which was put among the builtins")
        self._name_by_words(function, ".".join(["builtins", *names]))

    def _name_what_is_not_followed(
        self, function: FunctionType, value: object, rest: Sequence[str]
    ) -> None:
        called = _dotted(value)
        if is_module_of_user(value) and (not rest or "__getattr__" in vars(value)):
            self._name(
                f"{key_of(function)} uses the module {called} as a whole: what it reads of it is "
                "not known"
            )
        self._name_by_words(function, ".".join([called, *rest]))

    def _name_by_words(self, function: FunctionType, dotted: str) -> None:
        words = dotted.split(".")
        for number in range(1, len(words) + 1):
            if reason := _UNFOLLOWED.get(path := ".".join(words[:number])):
                self._name(f"{key_of(function)} uses {path.removeprefix('builtins.')}: {reason}")
                return


_OURS = __name__.partition(".")[0]
_BUILTINS = frozenset(vars(builtins))  # those of Python, and what `site` adds


def _digest_of_file(file: str) -> str:
    try:
        with open(file, "rb") as stream:
            return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
    except OSError:
        return "?"


def _dotted(value: object) -> str:
    """What something is called, with its module."""
    if issubclass(type(value), ModuleType):
        return module_of(value)
    own = told_by(value, "__qualname__")
    return _process_wide().get(id(value)) or f"{module_of(value)}.{own}"


def _process_wide() -> dict[int, str]:
    """The names of objects of the standard library of which there is one for the whole process."""
    found: dict[int, str] = {}
    for name in ("os.environ", "os.environb", "sys.argv", "sys.stdin", "random._inst"):
        module, _, attribute = name.partition(".")
        if (value := getattr(sys.modules.get(module), attribute, None)) is not None:
            found[id(value)] = name
    return found


_CODE = "the code that it runs is not known"
_FILE = "the content of a file does not count"
_CLOCK = "it is another one at each time"
_PROCESS = "what the process was started with does not count"
_OUTSIDE = "what comes from outside does not count"
_TEXT = "the text of the code does not count"
_ANNOTATIONS = "annotations do not count"
_WORDS = {
    "__doc__": "documentation does not count",
    "__annotations__": _ANNOTATIONS,
    "__orig_bases__": "the parameters of classes do not count",
    "__subclasses__": "the classes that are found by it are not followed",
    **dict.fromkeys(("co_firstlineno", "f_lineno", "tb_lineno"), _TEXT),
}
_TABLES = ("csv", "parquet", "json", "excel", "feather", "hdf", "ipc", "pickle", "sql", "table")
_UNFOLLOWED = {
    **dict.fromkeys(
        (
            *("inspect.getsource", "inspect.getsourcelines", "inspect.getdoc", "inspect.stack"),
            *("inspect.currentframe", "sys._getframe", "linecache"),
        ),
        _TEXT,
    ),
    **dict.fromkeys(
        (
            *("typing.get_type_hints", "inspect.signature", "inspect.get_annotations"),
            *("inspect.getfullargspec", "dataclasses.fields"),
        ),
        _ANNOTATIONS,
    ),
    **dict.fromkeys(
        (
            *("builtins.eval", "builtins.exec", "builtins.compile", "builtins.__import__"),
            *("importlib.import_module", "builtins.globals", "runpy.run_path", "runpy.run_module"),
            *("sys.modules", "importlib.reload"),
        ),
        _CODE,
    ),
    **dict.fromkeys(
        (
            *("builtins.open", "io.open", "_io.open", "os.open", "posix.open", "os.listdir"),
            *("os.scandir", "os.walk", "os.stat", "posix.listdir", "posix.scandir", "posix.stat"),
            *("pathlib.Path", "pathlib._local.Path", "os.path.exists", "genericpath.exists"),
            *("posixpath.exists", "glob.glob", "glob.iglob", "tempfile", "sqlite3.connect"),
            *("importlib.resources", "pkgutil.get_data", "numpy.load", "numpy.loadtxt"),
            *("numpy.genfromtxt", "numpy.fromfile", "numpy.memmap", "pandas.io", "polars.io"),
            *(f"{each}.read_{kind}" for each in ("pandas", "polars") for kind in _TABLES),
        ),
        _FILE,
    ),
    **dict.fromkeys(
        (
            *("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns"),
            *("time.perf_counter", "time.perf_counter_ns", "time.process_time", "time.localtime"),
            *("time.gmtime", "time.strftime", "time.ctime", "datetime.datetime.now"),
            *("datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"),
        ),
        _CLOCK,
    ),
    **dict.fromkeys(
        (
            *("random", "secrets", "uuid.uuid1", "uuid.uuid4", "os.urandom", "posix.urandom"),
            *("numpy.random", "torch.rand", "torch.randn", "torch.randint"),
        ),
        _CLOCK,
    ),
    **dict.fromkeys(
        (
            *("os.environ", "os.environb", "os.getenv", "os.getcwd", "posix.getcwd", "sys.argv"),
            *("os.getpid", "posix.getpid"),
        ),
        _PROCESS,
    ),
    **dict.fromkeys(
        (
            *("builtins.input", "sys.stdin", "socket", "subprocess", "os.system", "posix.system"),
            *("os.popen", "urllib.request", "http.client", "requests", "httpx", "aiohttp"),
        ),
        _OUTSIDE,
    ),
}


_NO_DATA = frozenset(
    {
        *("logging.Logger", "logging.RootLogger", "_thread.lock", "_thread.RLock"),
        *("threading.Condition", "threading.Semaphore", "threading.BoundedSemaphore"),
    }
)


def _does_not_count(value: object) -> bool:
    """Of what decides nothing, follows from a class, or is named as what cannot be followed."""
    kind = type(value)
    if f"{kind.__module__}.{kind.__qualname__}" in _NO_DATA or id(value) in _process_wide():
        return True
    # A slot, a field of a named tuple.
    return hasattr(kind, "__get__") and kind.__module__.partition(".")[0] in sys.stdlib_module_names


_CANNOT_CHANGE = frozenset(
    {
        *("builtins.NoneType", "builtins.bool", "builtins.int", "builtins.float"),
        *("builtins.complex", "builtins.str", "builtins.bytes", "builtins.ellipsis"),
        *("builtins.range", "builtins.slice", "builtins.NotImplementedType", "re.Pattern"),
        "_struct.Struct",
        *("datetime.date", "datetime.time", "datetime.datetime", "datetime.timedelta"),
        *("datetime.timezone", "decimal.Decimal", "fractions.Fraction", "uuid.UUID"),
        *("pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.PureWindowsPath"),
        *("pathlib._local.PosixPath", "pathlib._local.PurePosixPath"),
        *("zoneinfo.ZoneInfo", "ipaddress.IPv4Address", "ipaddress.IPv6Address"),
    }
)


def _is_fixed(value: object) -> bool:
    """Whether it is another object as soon as it is another value. What a function or a class
    does is watched for itself."""
    kind = type(value)
    if isinstance(value, tuple | frozenset) and kind in (tuple, frozenset):
        return all(map(_is_fixed, value))
    if issubclass(kind, FunctionType | type | Enum):
        return True
    return f"{kind.__module__}.{kind.__qualname__}" in _CANNOT_CHANGE


def _views_of(value: object) -> list[Collection[object]]:
    """The items of a container whose value is that of its items; none of another thing."""
    views: list[Collection[object]] = []
    if type(value) is dict:
        views = [value.keys(), value.values()]
    elif type(value) is list:
        views = [value]
    flat = all(len(view) <= _FLAT and all(map(_is_fixed, [*view])) for view in views)
    return views if flat else []


def _leads_of(value: Any) -> Iterator[Subject]:
    """The user's functions and classes in a value, and the classes of the instances in it."""
    waiting: list[Any] = [value]
    seen = {id(value)}
    for each in waiting:
        subject = each if issubclass(type(each), Subject) else type(each)
        if of_user(module_of(subject)):
            yield subject
        for part in _parts_of(each):
            if len(seen) < _SEARCHED and id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)


def _parts_of(value: Any) -> Iterable[object]:
    kind = type(value)
    if kind is FunctionType:
        return [vars(value)["__wrapped__"]] if "__wrapped__" in vars(value) else ()
    if kind in (list, tuple):
        return islice(value, _SEARCHED)
    if kind in (set, frozenset):
        return sorted(value, key=_name_of) if len(value) <= _SEARCHED else ()
    if kind is dict:
        return [*[*value][:_SEARCHED], *[*value.values()][:_SEARCHED]]
    if of_user(kind.__module__):
        return [each for _, each in sorted(getattr(value, "__dict__", {}).items())]
    return ()


# How things are shown.


def _name_of(value: object) -> str:
    """`module:qualname`, of an instance that of its class."""
    if isinstance(value, FunctionType):
        return key_of(value)
    named = value if isinstance(value, type) else type(value)
    return f"{named.__module__}:{named.__qualname__}"


def _own_digest(subject: Subject) -> str:
    return hashlib.sha256(repr(look_at(subject).form).encode()).hexdigest()


def _text_of(subject: Subject) -> str | None:
    if isinstance(subject, FunctionType):
        from snapshot.store.sources import source_of

        source = source_of(subject)
        return None if source is None or source.stale else source.text
    import inspect

    try:
        return inspect.cleandoc(inspect.getsource(subject))
    except Exception:  # there is none; or a metaclass may do anything
        return None


def _short(value: object) -> str:
    import reprlib

    try:
        return reprlib.repr(value)
    except Exception:
        return f"<{_name_of(type(value))}>"
