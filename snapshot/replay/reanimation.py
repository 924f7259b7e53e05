"""Reanimation: a recorded call is made again, in a disposable fork."""

from __future__ import annotations

import builtins
import contextlib
import functools
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import decode_source
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from snapshot import pickling
from snapshot.errors import CannotReanimate, NotPicklable
from snapshot.pickling import Bytes, FindClass
from snapshot.replay import recorder
from snapshot.replay.binding import Binding
from snapshot.replay.comparing import differences
from snapshot.replay.contents import as_it_was
from snapshot.replay.finding import living, made_of_its_module, made_of_its_source
from snapshot.replay.making import Driving, Keep, alike, is_driven
from snapshot.replay.programs import found_by_name, in_main, main_key, main_name
from snapshot.replay.restoring import Args, Kwargs, Restoring, among, define
from snapshot.replay.secrets import MARK
from snapshot.replay.standins import Standins
from snapshot.replay.surroundings import read_by
from snapshot.replay.yields import Driven
from snapshot.store import Store
from snapshot.store.calls import Call, Function, Stored
from snapshot.store.events import Outcome
from snapshot.store.functions import find, find_code
from snapshot.store.objects import Placeholder
from snapshot.store.searching import storable
from snapshot.store.sources import source_of
from snapshot.store.versions import version_of

if TYPE_CHECKING:
    from snapshot.replay.definitions import Definitions


_PLACE = re.compile(r"\bat 0x[0-9a-f]+")  # in memory, of an object that a text tells of


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
    """How a call is made again; see `reanimate_function`.

    here: in a process that goes on afterwards.
    """

    import_path: str | os.PathLike[str] | None = None
    overrides: Mapping[str, Any] | None = None
    recorded_code: bool = False
    mock: Sequence[str] = ()
    debug: Callable[[Callable[[], Any]], Any] | None = None
    here: bool = False


class Shared:
    """What several calls have in common, and is found once.

    scripts: the definitions of each, by file name. functions: of modules, by key and digest, with
    whether they are other ones now.
    """

    def __init__(self) -> None:
        self.scripts: dict[str, Definitions] = {}
        self.functions: dict[tuple[str, bytes], tuple[FunctionType, bool]] = {}


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
        self._key = main_key(call.function.key)
        self._store = store
        self._request = request
        path = request.import_path
        self._import_path = None if path is None else os.path.abspath(os.fspath(path))
        self._shared = shared or Shared()
        self._fetched: dict[Stored, tuple[bytes, list[Bytes]]] = {}
        self._find_class: FindClass | None = None

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
        with self._in_its_folder():
            return self._prepared(_as_it_is)[0]()

    def compared(self) -> Reanimated:
        """Make the call, and compare what comes of it with what did."""
        made = Reanimated(self.call.id, self.call.function.key)
        with self._in_its_folder():
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
        find_class = self._standins if to_call else self.classes()
        if stored in self._fetched:
            data, buffers = self._fetched[stored]  # a value may be loaded twice, and changed
            copies = [bytearray(each) for each in buffers]
            return pickling.load(data, copies, find_class=find_class)
        return self._store.calls.load(stored, find_class=find_class)

    @functools.cached_property
    def _standins(self) -> Standins:
        return Standins(self.classes())

    def classes(self) -> FindClass | None:
        """Where an unpickler finds the classes of the program that has recorded."""
        if self._find_class is None and not self._is_our_program():
            self._find_class = in_main(self._find_in_script)
        elif self._find_class is None and self._key != self.call.function.key:
            self._find_class = in_main(found_by_name)
        return self._find_class

    def _find_in_script(self, module: str, name: str) -> Any:
        """As its definitions find it, of a script that can be read; most values need none."""
        try:
            definitions = self._definitions()
        except CannotReanimate:
            return found_by_name(module, name)
        return definitions.find_class(module, name)

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
        from snapshot.replay.definitions import Definitions  # here, since only scripts need it

        try:
            with open(file, "rb") as source:
                text = decode_source(source.read())
            return Definitions(text, file, package=facts.get("package"))
        except (OSError, SyntaxError, ValueError) as error:
            raise CannotReanimate(
                f"{file}, in which it was called, cannot be read: {error}"
            ) from None

    def _module(self, key: str | None = None) -> ModuleType | None:
        """That of a function, this one by default, where it is no module to be imported."""
        if (key or self._key).startswith("__main__:") and not self._is_our_program():
            return self._definitions().module
        return None

    def _function(self, surroundings: Mapping[str, Any]) -> FunctionType:
        facts, module = self.call.function.facts, self._module()
        if self._request.recorded_code:
            overrides = self._request.overrides or {}
            return made_of_its_source(self._key, facts, surroundings, module, overrides)
        if (known := self._known()) is not None:
            return known[0]
        found = None if "<" in self._key else living(self._key, facts, module)
        return found or made_of_its_module(self._key, facts, surroundings, module)

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
        facts = self.call.function.facts
        if self._known() is not None:
            return
        self.find_path()
        if self._module() is not None:
            return
        if "<" in self._key:
            find_code(self._key, digest=bytes.fromhex(facts["code"]))
        elif (function := living(self._key, facts)) is not None:
            changed = self._has_changed(function)
            self._shared.functions[self._key, self.call.function.digest] = function, changed

    def _known(self) -> tuple[FunctionType, bool] | None:
        return self._shared.functions.get((self._key, self.call.function.digest))

    def has_changed(self) -> bool:
        """Whether the function is another one now. Raises `CannotReanimate`."""
        self.find_path()
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
        if (module := self._module()) is not None:
            define(function, module)
        return version_of(function) != self.call.function.digest

    # The call.

    def _prepared(self, keep: Keep) -> tuple[Callable[[], Any], FunctionType, Args, Kwargs]:
        """What makes the call, the function, and the arguments, which it may change.

        keep: what is done with each value that a generator yields.
        """
        self.find_path()
        overrides = dict(self._request.overrides or {})
        surroundings = self.loaded(self.call.surroundings, to_call=True)
        if not isinstance(surroundings, dict):
            surroundings = {}
        self._fill_cells(surroundings.get("cells", {}), overrides)
        function = self._function(surroundings)
        restoring = Restoring(function, self._module(), in_place=not self._request.here)
        values = restoring.globals(surroundings, overrides)
        given = restoring.arguments(surroundings, values, *self.arguments(to_call=True))
        binding = Binding(self.call, function, *given)
        read = set(read_by(function.__code__))
        binding.give(overrides, read)
        binding.check(self._standins)
        self._check_names(overrides, function, read, binding)
        values.update(overrides)
        call = functools.partial(function, *binding.args, **binding.kwargs)
        make = functools.partial(self._driving(keep).made, call)
        if self._request.debug is not None:
            make = functools.partial(self._request.debug, functools.update_wrapper(make, function))
        if self._request.mock:
            make = functools.partial(self._mocked, make)
        make = functools.partial(among, function, values, make)
        return make, function, binding.args, binding.kwargs

    def _check_names(
        self, overrides: Iterable[str], function: FunctionType, read: set[str], binding: Binding
    ) -> None:
        """Raise `CannotReanimate` for what is neither parameter nor cell, and no global either."""
        is_ours = self._module() is None
        for name in overrides:
            if name in read or name in function.__globals__:
                continue
            if not is_ours and self._definitions().binds(name):
                continue
            cells = ", ".join(function.__code__.co_freevars) or "none"
            raise CannotReanimate(
                f"overrides={{{name!r}: ...}} means nothing to {self.call.function.key}: it has "
                f"the parameters {', '.join(binding.names) or 'none'}, reads the globals "
                f"{', '.join(sorted(read - vars(builtins).keys())) or 'none'}, and has the cells "
                f"{cells}"
            )

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
        from snapshot.replay.mocking import mocked  # here, since it is seldom needed

        with mocked(self._store.calls, self.call, self._request.mock, self.loaded, self._found):
            return make()

    def _found(self, function: Function) -> FunctionType:
        key = main_key(function.key)
        module = self._module(key)
        return living(key, function.facts, module) or find(key, module=module)

    @contextlib.contextmanager
    def _in_its_folder(self) -> Iterator[None]:
        """In the block, the working directory is that of then, if it is still there."""
        path = [*sys.path]
        try:
            before = os.getcwd()
            absolute = [os.path.abspath(each) for each in path]
            os.chdir(self.call.process.facts["folder"] or before)
        except OSError:
            yield
            return
        sys.path[:] = absolute
        try:
            yield
        finally:
            names = dict(zip(absolute, path, strict=True))
            sys.path[:] = [names.get(each, each) for each in sys.path]
            with contextlib.suppress(OSError):  # the call may have removed it
                os.chdir(before)

    def find_path(self) -> None:
        """Have the modules of the process that has recorded among those that can be imported.

        Raises `NotTrusted`: importing runs what the store names.
        """
        self._store.check_trust()
        if (first := self._import_path) is not None and sys.path[:1] != [first]:
            sys.path.insert(0, first)
        folder = self.call.process.facts["folder"]
        for each in self.call.process.facts["path"]:
            place = os.path.join(folder or "", each)
            if place not in sys.path and os.path.exists(place):
                sys.path.append(place)

    def _driving(self, keep: Keep) -> Driving:
        """How the generator was driven, if it is one. Raises `CannotReanimate`."""
        closed = self.call.outcome is Outcome.closed
        if not self.call.function.facts["kind"].endswith("generator"):
            return Driving(None, closed=closed, keep=keep)
        stored = self.call.result
        try:
            then = self.loaded(stored)
        except NotPicklable as error:
            assert stored is not None
            if closed or is_driven(self._store.calls.fetch(stored)[0]):
                raise CannotReanimate(f"how it was driven cannot be loaded: {error}") from error
            then = None
        return Driving(then, closed=closed, keep=keep)

    def _differences(self, made: Reanimated, args: Args, kwargs: Kwargs) -> Iterator[str]:
        call = self.call
        if call.outcome is Outcome.running:
            yield "outcome: it had not ended then, and has now"
            return
        if call.outcome is Outcome.raised:
            assert call.failure is not None
            then = f"{main_name(call.failure.type)}: {call.failure.text}"
            now = "nothing" if made.error is None else in_words(made.error)
            if now == then:
                yield from self._in_errors(made.error)
            elif _PLACE.sub("", now) != _PLACE.sub("", then):
                yield f"exception: {then} then, {now} now"
        elif made.error is not None:
            yield f"exception: nothing then, {in_words(made.error)} now"
        else:
            try:
                then = self.loaded(call.result)
            except NotPicklable as error:
                yield f"value: what it was cannot be loaded: {error}"
            else:
                yield from differences(*alike(then, made.value))
        if self._request.overrides:
            return  # the arguments are others, too
        before = self.arguments() if call.after is None else self.loaded(call.after)
        if not isinstance(before, Placeholder):
            yield from differences(tuple(before[0]), args, "arguments")
            yield from differences(before[1], kwargs, "keywords")

    def _in_errors(self, now: object) -> list[str]:
        """What else of an exception, of one type and text, is another one now."""
        try:
            then = self.loaded(self.call.result)
        except NotPicklable:
            return []
        then = then.raised if isinstance(then, Driven) else then
        return [] if then is None else differences(then, now, "exception")


def _as_it_is(value: Any) -> Any:
    return value


def in_words(error: BaseException) -> str:
    """`ValueError: no`, with the text as the store has it."""
    kind = type(error)
    try:
        text = str(error)
    except Exception as other:
        text = f"<its str raised {type(other).__name__}>"
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    return f"{storable(name)}: {storable(text)}"
