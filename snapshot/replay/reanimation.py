"""Reanimation: a recorded call is made again, in a disposable fork."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from snapshot import pickling
from snapshot.errors import CannotReanimate, FunctionNotFound, NotPicklable
from snapshot.pickling import Bytes
from snapshot.replay import recorder
from snapshot.replay.comparing import differences
from snapshot.replay.contents import as_it_was
from snapshot.replay.definitions import Definitions
from snapshot.replay.mocking import mocked
from snapshot.replay.redaction import MARK
from snapshot.replay.sourcetext import SourceText
from snapshot.store import Store
from snapshot.store.calls import Call, Stored, storable
from snapshot.store.events import Outcome
from snapshot.store.functions import find, find_code, underlying
from snapshot.store.objects import Placeholder
from snapshot.store.sources import inner_codes, source_of
from snapshot.store.versions import version_of

Args = tuple[Any, ...]
Kwargs = dict[str, Any]
Keep = Callable[[Any], Any]


@dataclass
class Reanimated:
    """What came of a call that was made again, beside what came of it then.

    value: what it returned now, or a list of what it yielded. error: what it raised. output: what
    it wrote to standard output and standard error. differences: a line for each, in the value, the
    exception and the arguments that it changed; what was not recorded is not compared. changed:
    whether the function is another one now. duration: seconds.
    """

    id: int
    function: str
    value: Any = None
    error: BaseException | None = None
    output: str = ""
    differences: list[str] = field(default_factory=list)
    changed: bool = False
    duration: float = 0.0

    @property
    def matches(self) -> bool:
        """Whether all that was compared is what it was."""
        return not self.differences

    def __str__(self) -> str:
        head = f"call {self.id} of {self.function}: "
        if self.matches:
            return head + "as it was recorded"
        lines = [head + "not as it was recorded", *(f"  {each}" for each in self.differences)]
        return "\n".join(lines)


class Request(NamedTuple):
    """How a call is made again; see `reanimate_function`."""

    import_path: str | os.PathLike[str] | None = None
    overrides: Mapping[str, Any] | None = None
    recorded_code: bool = False
    mock: Sequence[str] = ()
    debug: Callable[[Callable[[], Any]], Any] | None = None


@dataclass
class Shared:
    """What several calls have in common, and is found once.

    scripts: the definitions of each, by file name. functions: of modules, by key and digest, with
    whether they are other ones now.
    """

    scripts: dict[str, Definitions] = field(default_factory=dict)
    functions: dict[tuple[str, bytes], tuple[FunctionType, bool]] = field(default_factory=dict)


class Reanimation:
    """A recorded call, on the way to be made again in this process."""

    def __init__(
        self,
        store: Store,
        call: Call,
        request: Request,
        shared: Shared | None = None,
    ) -> None:
        self.call = call
        self._store = store
        self._request = request
        self._shared = shared or Shared()
        self._fetched: dict[Stored, tuple[bytes, list[Bytes]]] = {}
        self._find_class: Callable[[str, str], Any] | None = None

    def arguments(self, *, to_call: bool = False) -> tuple[Args, Kwargs]:
        """What it was called with. Raises `CannotReanimate` where that was not stored.

        to_call: see `loaded`.
        """
        found = self.loaded(self.call.arguments, to_call=to_call)
        if isinstance(found, Placeholder) or found is None:
            why = "they were not stored" if found is None else found.reason
            raise CannotReanimate(f"the arguments of call {self.call.id} are not there: {why}")
        args, kwargs = found
        return args, kwargs

    def run(self) -> Any:
        """Make the call; what it returned, or a list of what it yielded."""
        return self._prepared(_as_it_is)[0]()

    def compared(self) -> Reanimated:
        """Make the call, and compare what comes of it with what did."""
        call = self.call
        made = Reanimated(call.id, call.function.key)
        make, function, args, kwargs = self._prepared(as_it_was)
        if not self._request.recorded_code:
            made.changed = self._has_changed(function)
        began = time.perf_counter()
        try:
            made.value = make()
        except BaseException as error:
            if self._is_ours(error):
                raise
            made.error = error
        made.duration = time.perf_counter() - began
        made.differences = list(self._differences(made, args, kwargs))
        if made.differences and made.changed:
            made.differences.append("(the function has changed since)")
        return made

    def _is_ours(self, error: BaseException) -> bool:
        """Whether something happened to us, and the call has not raised it."""
        if isinstance(error, CannotReanimate):
            return bool(self._request.mock)  # which has no answer
        happens = isinstance(error, KeyboardInterrupt | GeneratorExit | MemoryError)
        failure = self.call.failure
        return happens and (failure is None or failure.type != type(error).__name__)

    def loaded(self, stored: Stored | None, *, to_call: bool = False) -> Any:
        """A value of the call, or of one that it has made; None where none was stored.

        to_call: with new locks where there were locks, for a call with it.
        """
        if stored is None:
            return None
        find_class = _with_locks(self._classes()) if to_call else self._classes()
        if stored in self._fetched:
            data, buffers = self._fetched[stored]  # a value may be loaded twice, and changed
            copies = [bytearray(each) for each in buffers]
            return pickling.load(data, copies, find_class=find_class)
        return self._store.calls.load(stored, find_class=find_class)

    def _classes(self) -> Callable[[str, str], Any] | None:
        """Where an unpickler finds the classes of the program that has recorded."""
        if self._find_class is None and not self._is_our_program():
            with contextlib.suppress(CannotReanimate):
                self._find_class = self._definitions().find_class
        return self._find_class

    # The function.

    def _is_our_program(self) -> bool:
        """Whether `__main__` is here what it was there."""
        facts = self.call.process.facts
        here = recorder.main_file()
        if here is None:
            return bool(self.call.process.session == recorder.session())
        return bool(facts["main"] == here)

    def _definitions(self) -> Definitions:
        file = self.call.process.facts["main"]
        scripts = self._shared.scripts
        if file not in scripts:
            scripts[file] = self._read_script(file)
        return scripts[file]

    def _read_script(self, file: str | None) -> Definitions:
        facts = self.call.process.facts
        if file is None:
            raise CannotReanimate(
                f"call {self.call.id} was made in an interactive session or in `python -c`, whose "
                "functions are in no file: reanimate it there"
            )
        try:
            with open(file, encoding="utf-8") as source:
                text = source.read()
            return Definitions(text, file, package=facts.get("package"))
        except (OSError, SyntaxError, ValueError) as error:
            raise CannotReanimate(
                f"{file}, in which it was called, cannot be read: {error}"
            ) from None

    def _module(self, key: str) -> ModuleType | None:
        """That of the function, where it is no module to be imported."""
        if key.startswith("__main__:") and not self._is_our_program():
            return self._definitions().module
        return None

    def _function(self, surroundings: Mapping[str, Any]) -> FunctionType:
        key, facts = self.call.function.key, self.call.function.facts
        digest = bytes.fromhex(facts["code"])
        module = self._module(key)
        if self._request.recorded_code:
            return self._from_source(key, facts, surroundings, module)
        if (known := self._known()) is not None:
            return known[0]
        if "<locals>" in key or "<lambda>" in key:
            code = find_code(key, digest=digest, module=module)
            home = module or sys.modules[key.partition(":")[0]]
            return _made(code, home.__dict__, surroundings)
        return find(key, digest=digest, module=module)

    def _from_source(
        self,
        key: str,
        facts: Mapping[str, Any],
        surroundings: Mapping[str, Any],
        module: ModuleType | None,
    ) -> FunctionType:
        """The function as it was, from its text, among what is there now."""
        if facts["source"] is None:
            raise CannotReanimate(f"the source of {key} was not recorded: there was none")
        name, qualname = key.partition(":")[::2]
        home = module or _imported(name, key)
        names = [*surroundings.get("cells", {}), *surroundings.get("itself", ())]
        try:
            text = SourceText(facts["source"], qualname, facts["file"])
            code = text.code(names, bytes.fromhex(facts["code"]))
        except (SyntaxError, ValueError, LookupError) as error:
            raise CannotReanimate(
                f"the recorded source of {key} does not make it: {error}"
            ) from None
        code = _moved(code, facts["line"] - code.co_firstlineno)
        function = _made(code, home.__dict__, surroundings)
        if "defaults" not in surroundings:
            try:
                like = text.defaults(home.__dict__)
            except Exception:  # they may be made of what is not there any more
                like = None
                with contextlib.suppress(FunctionNotFound):
                    like = find(key, module=module)
            if like is not None:
                function.__defaults__ = like.__defaults__
                function.__kwdefaults__ = like.__kwdefaults__
        return function

    def prefetch(self) -> int:
        """Have all values of the call here, so that a fork needs no connection to the store.

        Returns how many bytes they are.
        """
        call = self.call
        for each in (call.arguments, call.result, call.after, call.surroundings):
            if each is not None:
                self._fetched[each] = self._store.calls.fetch(each)
        return sum(
            len(data) + sum(memoryview(each).nbytes for each in buffers)
            for data, buffers in self._fetched.values()
        )

    def warm_up(self) -> None:
        """Import what the function is in, and find it there. Raises `CannotReanimate`."""
        key, facts = self.call.function.key, self.call.function.facts
        if self._known() is not None:
            return
        self._find_path()
        if self._module(key) is not None:
            return
        digest = bytes.fromhex(facts["code"])
        if "<" in key:
            find_code(key, digest=digest)
        else:
            function = find(key, digest=digest)
            changed = self._has_changed(function)
            self._shared.functions[key, self.call.function.digest] = function, changed

    def _known(self) -> tuple[FunctionType, bool] | None:
        function = self.call.function
        return self._shared.functions.get((function.key, function.digest))

    def has_changed(self) -> bool:
        """Whether the function is another one now. Raises `CannotReanimate`."""
        self._find_path()
        return self._has_changed(self._function(self.loaded(self.call.surroundings) or {}))

    def _has_changed(self, function: FunctionType) -> bool:
        if (known := self._known()) is not None:
            return known[1]
        here = ".".join(map(str, sys.version_info[:2]))
        if not str(self.call.process.facts["python"]).startswith(here + "."):
            # Bytecode is another one there: so much can be said.
            then, now = self.call.function.facts["source"], source_of(function)
            if then is None or now is None or MARK in then:
                return False
            return bool(then != now.text)
        if (module := self._module(self.call.function.key)) is not None:
            _define(function, module)
        return version_of(function) != self.call.function.digest

    # The call.

    def _prepared(self, keep: Keep) -> tuple[Callable[[], Any], FunctionType, Args, Kwargs]:
        """What makes the call, the function, and the arguments, which it may change.

        keep: what is done with each value that a generator yields.
        """
        self._find_path()
        overrides = dict(self._request.overrides or {})
        surroundings = self.loaded(self.call.surroundings, to_call=True) or {}
        if isinstance(surroundings, Placeholder):
            surroundings = {}
        self._fill_cells(surroundings.get("cells", {}), overrides)
        function = self._function(surroundings)
        args, kwargs = _bound(self, function, *self.arguments(to_call=True), overrides)
        values = {**surroundings.get("globals", {}), **overrides}
        call = functools.partial(function, *args, **kwargs)
        make = functools.partial(_made_call, call, self._yielded(), keep)
        if self._request.debug is not None:
            make = functools.partial(self._request.debug, make)
        if self._request.mock:
            make = functools.partial(self._mocked, make)
        return functools.partial(_among, function, values, make), function, args, kwargs

    def _fill_cells(self, cells: dict[str, Any], overrides: dict[str, Any]) -> None:
        """Put what `overrides` has for a cell in its place, and take it out of there."""
        for name, value in cells.items():
            if name in overrides:
                cells[name] = overrides.pop(name)
            elif isinstance(value, Placeholder):
                raise CannotReanimate(
                    f"the variable {name}, which {self.call.function.key} has of the function "
                    f"around it, was not stored ({value.reason}): give one, "
                    f"overrides={{{name!r}: ...}}"
                )

    def _mocked(self, make: Callable[[], Any]) -> Any:
        request = self._request
        with mocked(self._store.calls, self.call, request.mock, self.loaded, self._found):
            return make()

    def _found(self, key: str) -> FunctionType:
        return find(key, module=self._module(key))

    def _find_path(self) -> None:
        first = self._request.import_path
        if first is not None and sys.path[:1] != [os.path.abspath(os.fspath(first))]:
            sys.path.insert(0, os.path.abspath(os.fspath(first)))
        folder = self.call.process.facts["folder"]
        for each in self.call.process.facts["path"]:
            place = os.path.join(folder or "", each)
            if place not in sys.path and os.path.exists(place):
                sys.path.append(place)

    def _yielded(self) -> int | None:
        """How many values to take of a generator; None for all of them."""
        if self.call.outcome is not Outcome.closed:
            return None
        found = self.loaded(self.call.result)
        return len(found) if isinstance(found, list) else None

    def _differences(self, made: Reanimated, args: Args, kwargs: Kwargs) -> Iterator[str]:
        call = self.call
        if call.outcome is Outcome.running:
            yield "outcome: it had not ended then, and has now"
            return
        if call.outcome is Outcome.raised:
            assert call.failure is not None
            then = f"{call.failure.type}: {call.failure.text}"
            now = "nothing" if made.error is None else in_words(made.error)
            if now != then:
                yield f"exception: {then} then, {now} now"
        elif made.error is not None:
            yield f"exception: nothing then, {in_words(made.error)} now"
        else:
            try:
                then = self.loaded(call.result)
            except NotPicklable as error:
                yield f"value: what it was cannot be loaded: {error}"
            else:
                yield from differences(then, made.value)
        if self._request.overrides:
            return  # the arguments are others, too
        before = self.arguments() if call.after is None else self.loaded(call.after)
        if not isinstance(before, Placeholder):
            yield from differences(tuple(before[0]), args, "arguments")
            yield from differences(before[1], kwargs, "keywords")


def _with_locks(find_class: Callable[[str, str], Any] | None) -> Callable[[str, str], Any]:
    """The same, with which a lock comes into being in the place of what stands for one."""

    def find(module: str, name: str) -> Any:
        if (module, name) == (Placeholder.__module__, Placeholder.__name__):
            return _lock_or_placeholder
        if find_class is not None:
            return find_class(module, name)
        return functools.reduce(getattr, name.split("."), importlib.import_module(module))

    return find


def _lock_or_placeholder(kind: str, reason: str, text: str) -> Any:
    found = Placeholder(kind, reason, text)
    make = {"_thread.lock": threading.Lock, "_thread.RLock": threading.RLock}.get(kind)
    return found if make is None else _Lock(make(), found)


class _Lock:
    """A new lock in the place of one that was not stored. Pickled, it is not stored either."""

    def __init__(self, lock: Any, then: Placeholder) -> None:
        self._lock, self._then = lock, then
        self.acquire, self.release = lock.acquire, lock.release

    def locked(self) -> bool:
        return bool(self._lock.locked())

    def __enter__(self) -> Any:
        return self._lock.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._lock.__exit__(*error)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._then.__reduce__()


def _imported(name: str, key: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise FunctionNotFound(f"{key}: {name} cannot be imported: {error}", key=key) from error


def _made(code: CodeType, home: dict[str, Any], surroundings: Mapping[str, Any]) -> FunctionType:
    """A function that is found by no name, with its cells as they were recorded."""
    cells = surroundings.get("cells", {})
    closure = tuple(CellType(cells[n]) if n in cells else CellType() for n in code.co_freevars)
    function = FunctionType(code, home, code.co_name, None, closure)
    defaults, keywords = surroundings.get("defaults", (None, None))
    function.__defaults__, function.__kwdefaults__ = defaults, keywords
    for name, cell in zip(code.co_freevars, closure, strict=True):
        if name in surroundings.get("itself", ()):
            cell.cell_contents = function
    return function


def _moved(code: CodeType, lines: int) -> CodeType:
    """The same code, so many lines further down."""
    constants = tuple(
        _moved(each, lines) if isinstance(each, CodeType) else each for each in code.co_consts
    )
    return code.replace(co_consts=constants, co_firstlineno=code.co_firstlineno + lines)


def _bound(
    self: Reanimation, function: FunctionType, args: Args, kwargs: Kwargs, overrides: dict[str, Any]
) -> tuple[Args, Kwargs]:
    """The arguments, with those of `overrides` that are parameters, which are taken out of it.

    Raises `CannotReanimate` where they do not fit, or one was not stored.
    """
    key = self.call.function.key
    signature = inspect.signature(function)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        was = (self.call.function.facts["source"] or "").partition("\n")[0]
        raise CannotReanimate(
            f"{key} does not take the recorded arguments any more ({error}): it is "
            f"{function.__name__}{signature} now, and was: {was.strip()}; run what it was with "
            "recorded_code=True, or give other arguments to it yourself"
        ) from None
    for name in [each for each in overrides if each in signature.parameters]:
        bound.arguments[name] = overrides.pop(name)
    defaults = {
        name: each.default
        for name, each in signature.parameters.items()
        if name not in bound.arguments and isinstance(each.default, Placeholder)
    }
    for name, value in {**bound.arguments, **defaults}.items():
        if isinstance(value, Placeholder):
            raise CannotReanimate(
                f"the argument {name} of call {self.call.id} was not stored ({value.reason}): "
                f"give one, overrides={{{name!r}: ...}}"
            )
    return bound.args, bound.kwargs


def _define(function: FunctionType, module: ModuleType) -> None:
    """Define what a function of a script reaches by its globals, and what that does."""
    waiting: list[Any] = [function]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, type) and each.__module__ == module.__name__:
            waiting += vars(each).values()
        plain = underlying(each)
        if plain is None or plain.__globals__ is not module.__dict__ or id(plain) in seen:
            continue
        seen.add(id(plain))
        for name in {name for code in inner_codes(plain.__code__) for name in code.co_names}:
            with contextlib.suppress(Exception):  # it is made by the body, or cannot be made
                waiting.append(getattr(module, name))


def _among(function: FunctionType, values: Mapping[str, Any], make: Callable[[], Any]) -> Any:
    """Make a call while the globals of its function have these values."""
    home = function.__globals__
    found = {name: each for name, each in values.items() if not isinstance(each, Placeholder)}
    before = {name: home[name] for name in found if name in home}
    home.update(found)
    try:
        return make()
    finally:
        for name in found:
            home.pop(name, None)
        home.update(before)


def _as_it_is(value: Any) -> Any:
    return value


def _made_call(call: Callable[[], Any], count: int | None, keep: Keep) -> Any:
    """What a call returns, when it has been awaited, or iterated so many times."""
    value = call()
    if inspect.iscoroutine(value):
        return _awaited(value)
    if inspect.isasyncgen(value):
        return _awaited(_all_of(value, count, keep))
    if inspect.isgenerator(value):
        found: list[Any] = []
        while count is None or len(found) < count:
            try:
                found.append(keep(next(value)))
            except StopIteration:
                break
        value.close()
        return found
    return value


def _awaited(value: Any) -> Any:
    import asyncio  # what makes few calls wait, and each fork dearer

    return asyncio.run(value)


async def _all_of(values: Any, count: int | None, keep: Keep) -> list[Any]:
    found: list[Any] = []
    while count is None or len(found) < count:
        try:
            found.append(keep(await anext(values)))
        except StopAsyncIteration:
            break
    await values.aclose()
    return found


def in_words(error: BaseException) -> str:
    """`ValueError: no`, with the text as the store has it."""
    kind = type(error)
    try:
        text = str(error)
    except Exception as other:
        text = f"<its str raised {type(other).__name__}>"
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    return f"{storable(name)}: {storable(text)}"
