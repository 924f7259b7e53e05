"""Values as bytes: pickle protocol 5, with large buffers out of band.

`dump` takes the standard library's pickler first, and cloudpickle where that one fails or the
reader would not find a class or function by its name. What means nothing in another process (open
files, sockets, locks, threads) is refused by name, though cloudpickle would take a file. A match of
a regular expression is found again, and an exception is made without its class's own `__init__`.

`write` and `read` bring a dumped value through a file, which the reader maps instead of copying.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import importlib
import io
import itertools
import mmap
import operator
import os
import pickle
import re
import reprlib
import signal
import sys
from collections import ChainMap, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import CodeType, FunctionType, MemberDescriptorType, ModuleType
from typing import Any, NoReturn

from snapshot.errors import NotPicklable

Bytes = bytes | bytearray | memoryview
Lacks = Callable[[Any], bool]
FindClass = Callable[[str, str], Any]
Instead = Callable[[Any, BaseException], object]
Change = Callable[[Any, tuple[Any, ...]], tuple[Any, ...]]

LARGE = 1 << 16  # bytes from which on a buffer stays out of band
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})
_SEARCHED = 20_000  # objects that are looked at to say where in a value something is
_MADE_IN_PYTHON = 1 << 9  # a flag of a class

_SIGNALS = tuple(map(int, signal.valid_signals()))
# That of `signal` makes an enum of each answer, in a hundred times as long.
_getsignal: Callable[[int], Any] = importlib.import_module("_signal").getsignal

_shorten = reprlib.Repr()
_shorten.maxother = 80


def dump(
    value: object,
    *,
    lacks: Lacks | None = None,
    instead: Instead | None = None,
    change: Change | None = None,
) -> tuple[bytes, list[memoryview]]:
    """Pickle a value: the pickle, and the buffers of 64 KiB and more that it leaves out of band.

    The buffers are the value's own memory: use them before it changes.

    lacks: told a class or function that is found by its name here, whether the reader would not
        find the same there. Such a one is pickled by value, as one without a name is. By default
        the reader is taken to have every module that there is here.
    instead: told what cannot be pickled, wherever in the value it is, and why; what it returns is
        pickled in place of that, as its own `__reduce__` says.
    change: with `instead`, told an object and what that is reduced to (see `object.__reduce__`),
        unless it is pickled by name; what it returns is taken in place of that.

    Raises `NotPicklable`, which says what cannot be pickled and, where that is soon found, where
    in the value it is; MemoryError and KeyboardInterrupt; nothing else.
    """
    if type(value) in _ATOMS:
        return pickle.dumps(value, 5), []
    if change is None:
        pickler = _Pickler(lacks)
        try:
            return pickler.dumped(value)
        except (MemoryError, KeyboardInterrupt):
            raise
        except BaseException as error:  # code of the value's own may raise anything
            if is_interrupt(error):
                raise
            refused = isinstance(error, RecursionError) or (not instead and _words(pickler.latest))
            if refused:
                raise _refusal(value, pickler.latest, error) from error
    pickler = _by_value_pickler()(lacks, instead, change)
    try:
        return pickler.dumped(value)
    except (MemoryError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise _refusal(value, pickler.latest, error) from error


def is_interrupt(error: BaseException) -> bool:
    """Whether an exception is the program's affair, though it came while something of ours ran.

    So are MemoryError and KeyboardInterrupt, and what the handler of a signal has raised.
    """
    if isinstance(error, MemoryError | KeyboardInterrupt):
        return True
    codes = set()
    place = error.__traceback__
    while place is not None:
        codes.add(place.tb_frame.f_code)
        place = place.tb_next
    handlers = map(_getsignal, _SIGNALS)
    return any(_code_of(each) in codes for each in handlers if callable(each))


class Guarded:
    """In the block, code of anybody's runs: what it raises ends the block, and no more; an
    interrupt (see `is_interrupt`) comes through."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        return error is not None and not is_interrupt(error)


def _code_of(handler: Any) -> CodeType | None:
    """That of a function, a method, a partial or something else that can be called."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    if not hasattr(handler, "__code__") and not hasattr(handler, "__func__"):
        handler = vars(type(handler)).get("__call__")
    code = getattr(handler, "__code__", None)
    return code if isinstance(code, CodeType) else None


def out_of_band(buffers: list[memoryview]) -> Callable[[pickle.PickleBuffer], bool]:
    """A `buffer_callback` that takes those of 64 KiB and more out of the pickle, into the list."""

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < LARGE:
            return True
        buffers.append(raw)
        return False

    return keep_in_band


def load(data: Bytes, buffers: Iterable[Bytes] = (), *, find_class: FindClass | None = None) -> Any:
    """The value that `dump` made these of; it uses the memory of `buffers` and can write there.

    find_class: gives the class or function of a module that has a name; by default it is imported.

    Loading runs code that the pickle names. Raises `NotPicklable` if the value cannot be built
    here, MemoryError and KeyboardInterrupt.
    """
    try:
        if find_class is None:
            return pickle.loads(data, buffers=buffers)
        return _Unpickler(data, buffers, find_class).load()
    except (MemoryError, KeyboardInterrupt):
        raise
    except BaseException as error:
        advice = ""
        if isinstance(error, AttributeError | ImportError):
            advice = " (a class or function must be found here under its own name)"
        raise NotPicklable(f"cannot unpickle: {_one_line(error)}{advice}") from error


class _Unpickler(pickle.Unpickler):
    """One that finds classes and functions elsewhere."""

    def __init__(self, data: Bytes, buffers: Iterable[Bytes], find_class: FindClass) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
        self._find = find_class

    def find_class(self, module: str, name: str) -> Any:
        return self._find(module, name)


class Newcomers:
    """Tells which classes and functions were made here since this object was.

    In a process just forked that is what its parent lacks, though a name leads to it. A module
    that was imported since is no matter: the parent can import it, too. What there is before must
    have been frozen (`gc.freeze`): `gc.get_objects` lists what came later.
    """

    def __init__(self) -> None:
        self._modules = len(sys.modules)  # they are kept in the order in which they came
        self._made: frozenset[int] | None = None

    def __call__(self, named: Any) -> bool:
        if self._made is None:
            self._made = frozenset(id(each) for each in gc.get_objects() if _is_named(each))
        if id(named) not in self._made:
            return False
        return named.__module__ in itertools.islice(sys.modules, self._modules)


class _MustGoByValue(Exception):
    """A class or function has a name that the reader knows something else by, or nothing."""


class _Pickler(pickle.Pickler):
    """Takes classes and functions by name, and remembers what it failed at.

    latest: what was reduced last; when pickling fails, the object that is to blame.
    """

    def __init__(
        self, lacks: Lacks | None, instead: Instead | None = None, change: Change | None = None
    ) -> None:
        self.latest: object = None
        self._lacks = lacks
        self._instead = instead
        self._change = change
        self._file = io.BytesIO()
        self._buffers: list[memoryview] = []
        self._pipe = getattr(sys.modules.get("multiprocessing.connection"), "Connection", None)
        # No method of its own: that would be a cycle, which keeps what is pickled alive.
        super().__init__(self._file, protocol=5, buffer_callback=out_of_band(self._buffers))

    def dumped(self, value: object) -> tuple[bytes, list[memoryview]]:
        self.dump(value)
        return self._file.getvalue(), self._buffers

    def reducer_override(self, obj: Any) -> Any:
        self.latest = obj
        if type(obj) is self._pipe:  # its copy would close the descriptor of that number
            _refuse(obj)
        if type(obj) is re.Match:
            return _reduced_match(obj)
        if self._change is None and issubclass(type(obj), BaseException):
            return _reduced_error(obj)
        return self._reduce_named(obj) if _is_named(obj) else NotImplemented

    def _reduce_named(self, named: Any) -> Any:
        if self._lacks is not None and self._lacks(named):
            raise _MustGoByValue
        return NotImplemented


@functools.cache
def _by_value_pickler() -> type[_Pickler]:
    """Made when it is first needed: cloudpickle takes as long to load as many a call runs."""
    import cloudpickle

    class ByValuePickler(_Pickler, cloudpickle.Pickler):  # type: ignore[misc]
        """Where something else may go in place of an object, that is reduced here, and once."""

        dispatch_table = ChainMap(  # noqa: RUF012 (as the class that it is taken from)
            {io.TextIOWrapper: _refuse}, cloudpickle.Pickler.dispatch_table
        )

        def reducer_override(self, obj: Any) -> Any:
            if self._instead is None:
                return super().reducer_override(obj)
            try:
                reduced = super().reducer_override(obj)
                if reduced is NotImplemented and not _is_named(obj):
                    reduced = self._reduce(obj)
                if isinstance(reduced, str):
                    _check_name(obj, reduced)
                if self._change is not None and isinstance(reduced, tuple):
                    reduced = self._change(obj, reduced)
            except (MemoryError, KeyboardInterrupt, RecursionError):
                raise
            except BaseException as error:
                if is_interrupt(error):
                    raise
                return self._instead(obj, error).__reduce__()
            return reduced

        def _reduce(self, obj: Any) -> Any:
            reduce = self.dispatch_table.get(type(obj))
            return obj.__reduce_ex__(5) if reduce is None else reduce(obj)

        def _reduce_named(self, named: Any) -> Any:
            if not _found_by_name(named):
                return cloudpickle.Pickler.reducer_override(self, named)
            if self._lacks is None or not self._lacks(named):
                return NotImplemented
            module = sys.modules[named.__module__]
            cloudpickle.register_pickle_by_value(module)
            try:
                return cloudpickle.Pickler.reducer_override(self, named)
            finally:
                cloudpickle.unregister_pickle_by_value(module)

    return ByValuePickler


def _reduced_match(match: re.Match[Any]) -> tuple[Any, ...]:
    spans = [match.span(group) for group in range(1 + match.re.groups)]
    parts = match.re, match.string, match.pos, match.endpos, spans
    matched_again(*parts)  # if that fails, now
    return matched_again, parts


def matched_again(
    pattern: re.Pattern[Any], text: Any, begin: int, end: int, spans: list[tuple[int, int]]
) -> re.Match[Any]:
    """The match of a pattern in a text whose groups have these spans.

    begin, end: where in the text it was looked for. Where one match was found after another, this
    one's `pos` is where it begins.
    """
    for find, start in (
        *((pattern.match, begin), (pattern.fullmatch, begin), (pattern.search, begin)),
        *((pattern.match, spans[0][0]), (pattern.fullmatch, spans[0][0])),
    ):
        match = find(text, start, end)
        if match is not None and [match.span(group) for group in range(len(spans))] == spans:
            return match
    raise ValueError(f"{pattern} does not match again what it has matched")


def _reduced_error(error: BaseException) -> Any:
    """Without its class's own `__init__` and `__new__`, which may take others than `error.args`."""
    kind = type(error)
    base = _builtin_base(kind)
    own = [vars(each) for each in kind.__mro__[: kind.__mro__.index(base)]]
    if any(each in names for names in own for each in ("__reduce__", "__reduce_ex__")):
        return NotImplemented
    if any(MemberDescriptorType in map(type, names.values()) for names in own):
        return NotImplemented  # only they know what is in the slots
    if not any(each in names for names in own for each in ("__init__", "__new__")):
        return NotImplemented
    reduced = error.__reduce__()
    if not isinstance(reduced, tuple) or reduced[0] is not kind:
        return NotImplemented
    parts = reduced[1]
    if isinstance(error, BaseExceptionGroup):
        parts = error.message, [*error.exceptions]
    return remade, (kind, parts, error.args), *reduced[2:]


def remade(kind: type[BaseException], parts: Sequence[Any], args: tuple[Any, ...]) -> BaseException:
    """An exception that has no attributes of its own.

    parts: what the builtin class that it is one of takes.
    """
    base: Any = _builtin_base(kind)
    error: BaseException = base.__new__(kind, *parts)
    base.__init__(error, *parts)
    error.args = args
    return error


def _builtin_base(kind: type) -> type:
    return next(each for each in kind.__mro__ if not each.__flags__ & _MADE_IN_PYTHON)


def _is_named(obj: object) -> bool:
    return issubclass(type(obj), (type, FunctionType))


def _check_name(obj: object, name: str) -> None:
    """Raise an exception if the name that an object is reduced to does not lead to it."""
    module = pickle.whichmodule(obj, name)  # type: ignore[attr-defined]
    found: Any = importlib.import_module(module)
    for each in name.split("."):
        found = getattr(found, each)
    if found is not obj:
        raise pickle.PicklingError(f"it is not what {module}.{name} is")


def _found_by_name(named: Any) -> bool:
    found: Any = sys.modules.get(named.__module__)
    for name in named.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is named


# What is refused: the module that has the types, their names there, a word, what to do instead.
_REOPEN = "pass its name or its content"
_REFUSED: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    ("_io", ("TextIOWrapper", "BufferedReader", "BufferedWriter"), "an open file", _REOPEN),
    ("_io", ("BufferedRandom", "BufferedRWPair", "FileIO"), "an open file", _REOPEN),
    ("tempfile", ("_TemporaryFileWrapper",), "an open file", _REOPEN),
    ("mmap", ("mmap",), "a mapped file", _REOPEN),
    ("socket", ("socket",), "a socket", "pass what was read from it"),
    ("multiprocessing.connection", ("_ConnectionBase",), "a pipe", "pass what was read from it"),
    ("sqlite3", ("Connection", "Cursor"), "a database connection", "pass the rows"),
    ("threading", ("Thread",), "a thread", "pass what it has made"),
    ("subprocess", ("Popen",), "a running process", "pass its output or its pid"),
    ("_thread", ("LockType", "RLock"), "a lock", "leave it out, by `__getstate__` for instance"),
    ("types", ("GeneratorType",), "a generator", "pass a list of what it yields"),
    ("types", ("CoroutineType", "AsyncGeneratorType"), "a coroutine", "pass what it returns"),
)


def _words(obj: object) -> tuple[str, str] | None:
    """What to call this thing and what to do instead, if it is one of those that are refused."""
    for module, names, word, advice in _REFUSED:
        home = sys.modules.get(module)
        kinds = tuple(getattr(home, name) for name in names if hasattr(home, name))
        if issubclass(type(obj), kinds):
            return word, advice
    return None


def _refuse(_: object) -> NoReturn:
    raise TypeError("it would mean nothing in another process")


def _refusal(value: object, culprit: object, error: BaseException) -> NotPicklable:
    if isinstance(error, RecursionError):
        kind = type(value).__qualname__
        return NotPicklable(f"cannot pickle this {kind}: it is nested too deeply; flatten it")
    trail: Sequence[tuple[str, object]] = ()
    with Guarded():  # other people's attributes may do anything
        trail = _trail(value, culprit)
    for place, each in trail or [("", culprit)]:
        if words := _words(each):
            word, advice = words
            return NotPicklable(f"cannot pickle {word}, {_named_at(each, place)}: {advice}")
    place = trail[-1][0] if trail else ""
    return NotPicklable(
        f"cannot pickle {_named_at(culprit, place)}: {_one_line(error)}; "
        "pass something that is made of plain data"
    )


def _named_at(obj: object, place: str) -> str:
    kind = type(obj).__qualname__
    try:
        shown = _shorten.repr(obj)
    except BaseException as error:  # a repr is anybody's code, and may even exit
        if is_interrupt(error):
            raise
        shown = f"{kind} whose repr raised {type(error).__name__}"
    named = shown if kind in shown else f"the {kind} {shown}"
    return f"{named}, at {place}" if place not in ("", "value") else named


def _one_line(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except BaseException as other:
        if is_interrupt(other):
            raise
        text = f"its str raised {type(other).__name__}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _trail(value: object, culprit: object) -> Sequence[tuple[str, object]]:
    """The way from the value down to the culprit: each object, and the expression that leads
    there. Empty if it is not among the first that are looked at."""
    seen = {id(value)}
    trails = deque([[("value", value)]])
    while trails:
        trail = trails.popleft()
        place, holder = trail[-1]
        if holder is culprit:
            return trail
        for step, part in _parts(holder):
            if id(part) not in seen and len(seen) < _SEARCHED:
                seen.add(id(part))
                trails.append([*trail, (place + step, part)])
    return ()


def _parts(holder: object) -> Iterator[tuple[str, object]]:
    if isinstance(holder, dict):
        yield from ((f"[{_shorten.repr(key)}]", part) for key, part in dict.items(holder))
    elif isinstance(holder, list | tuple):
        yield from ((f"[{index}]", part) for index, part in enumerate(holder))
    elif isinstance(holder, set | frozenset):
        yield from ((".(member)", part) for part in holder)
    elif isinstance(holder, FunctionType):
        names = holder.__code__.co_freevars
        yield from (
            (f".(closure {name!r})", cell.cell_contents)
            for name, cell in zip(names, holder.__closure__ or (), strict=True)
        )
    if hasattr(holder, "__dict__") and not isinstance(holder, type | ModuleType):
        yield from ((f".{name}", part) for name, part in vars(holder).items())


def joined(data: Bytes, buffers: Sequence[Bytes]) -> list[Bytes]:
    """What `dump` gave as parts that make up one text of bytes, see `parted`."""
    parts: list[Bytes] = [b""]
    lengths = [memoryview(each).nbytes for each in (data, *buffers)]
    parts[0] = b"".join(each.to_bytes(_WORD, "little") for each in (len(buffers), *lengths))
    end = len(parts[0])
    for part, start in zip((data, *buffers), _starts(lengths, end), strict=True):
        parts += (bytes(start - end), part)
        end = start + memoryview(part).nbytes
    return parts


def parted(content: Bytes) -> tuple[memoryview, list[memoryview]]:
    """The pickle and the buffers that were joined. Raises ValueError where it is no such thing."""
    whole = memoryview(content)
    try:
        count = int.from_bytes(whole[:_WORD], "little")
        end = (2 + count) * _WORD
        if count > len(whole) // _WORD:
            raise ValueError
        lengths = [int.from_bytes(whole[n : n + _WORD], "little") for n in range(_WORD, end, _WORD)]
        parts = [
            whole[start : start + length]
            for start, length in zip(_starts(lengths, end), lengths, strict=True)
        ]
        if not lengths or any(map(operator.ne, map(len, parts), lengths)):
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError("this is no pickle with its buffers") from None
    return parts[0], parts[1:]


# A file: a number for the reader (never 0), how many buffers there are, and the length of the
# pickle and of each buffer, in words; then the pickle and the buffers. Without buffers no length
# is given, and the pickle is the rest of the file: what most calls return is small, and each page
# that a fork writes to on its way is one to copy.
_WORD = 8  # bytes, in this machine's order
_ALIGNED = 64  # bytes, what numpy gives its own memory
_PAGE = 1 << 12  # bytes that are read at once
_MAPPED = 1 << 18  # bytes from which on a file is mapped: below that, copying is cheaper
_MAP_FIXED = 0x10  # mmap(2)


def write(fd: int, kind: int, data: bytes, buffers: Sequence[memoryview] = ()) -> None:
    """Write what `dump` gave into an empty file, the head last: what has a head is complete.

    kind: a number from 1, which `read` gives back. Raises OSError.
    """
    head = kind.to_bytes(_WORD, sys.byteorder) + len(buffers).to_bytes(_WORD, sys.byteorder)
    if not buffers and len(data) < LARGE:
        os.pwrite(fd, head + data, 0)
        return
    first = len(head)
    if buffers:
        lengths = [len(data), *[buffer.nbytes for buffer in buffers]]
        head += b"".join([length.to_bytes(_WORD, sys.byteorder) for length in lengths])
        first, *others = _starts(lengths, (2 + len(lengths)) * _WORD)
        for buffer, start in zip(buffers, others, strict=True):
            _write_at(fd, buffer.cast("B"), start)
    _write_at(fd, memoryview(data), first)
    os.pwrite(fd, head, 0)


def read(fd: int) -> tuple[int, memoryview, list[memoryview]] | None:
    """The kind, the pickle and the buffers that `write` put into a file; None if it did not end.

    A large file is mapped copy on write: the memory is the file's until it is written to, and no
    descriptor is needed for that. Raises OSError.
    """
    begin = os.pread(fd, _PAGE, 0)
    kind = int.from_bytes(begin[:_WORD], sys.byteorder)
    count = int.from_bytes(begin[_WORD : 2 * _WORD], sys.byteorder)
    if not kind:
        return None
    if not count and len(begin) < _PAGE:
        return kind, memoryview(begin)[2 * _WORD :], []
    size = os.fstat(fd).st_size
    content = memoryview(mapped(fd, size) if size >= _MAPPED else bytearray(os.pread(fd, size, 0)))
    if not count:
        return kind, content[2 * _WORD :], []
    lengths = content[2 * _WORD : (3 + count) * _WORD].cast("Q").tolist()
    data, *buffers = [
        content[start : start + length]
        for start, length in zip(_starts(lengths, (2 + len(lengths)) * _WORD), lengths, strict=True)
    ]
    return kind, data, buffers


def _starts(lengths: Sequence[int], position: int) -> list[int]:
    """Where each part begins that comes after a position."""
    starts = []
    for length in lengths:
        position = -(-position // _ALIGNED) * _ALIGNED
        starts.append(position)
        position += length
    return starts


def _write_at(fd: int, part: memoryview, position: int) -> None:
    while part:
        written = os.pwrite(fd, part, position)
        part, position = part[written:], position + written


def mapped(fd: int, size: int) -> mmap.mmap:
    """A private mapping of the whole file that keeps no descriptor of it open."""
    if sys.version_info >= (3, 13):
        return mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, trackfd=False)
    mapping = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    place = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_ssize_t
    library.mmap.argtypes = (
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
        *(ctypes.c_int, ctypes.c_int, ctypes.c_ssize_t),
    )
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    if library.mmap(place, size, protection, mmap.MAP_PRIVATE | _MAP_FIXED, fd, 0) == -1:
        raise OSError(ctypes.get_errno(), "cannot map the file")
    return mapping
