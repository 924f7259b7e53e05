"""What is recorded of a function: what is the same for all its calls."""

from __future__ import annotations

import contextlib
import functools
import os
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from snapshot.errors import NotPicklable, UsageError
from snapshot.replay.contents import pickled
from snapshot.replay.redaction import Parts, Redaction, Scrubbing, behind, hidden
from snapshot.replay.secrets import Secrets
from snapshot.replay.sizes import estimated
from snapshot.replay.surroundings import Surroundings
from snapshot.store import functions
from snapshot.store.bytecode import code_digest
from snapshot.store.sources import source_of
from snapshot.store.versions import version_of

Args = tuple[Any, ...]
Kwargs = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """What `record` is asked for; see there."""

    redact: tuple[str, ...] = ()
    max_value_bytes: int | None = None
    when: Callable[..., object] | None = None
    sample: float = 1.0
    keep_last: int | None = None
    background: int | None = None

    @classmethod
    def of(
        cls,
        redact: Iterable[str],
        max_value_bytes: int | None,
        when: Callable[..., object] | None,
        sample: float,
        keep_last: int | None,
        background: int | None,
    ) -> Options:
        """Raises `UsageError` if one of them means nothing."""
        names = (redact,) if isinstance(redact, str) else tuple(redact)
        if not all(isinstance(each, str) and each for each in names):
            raise UsageError(f"redact={redact!r}: give names, as in redact=['password']")
        for name, number in (
            ("max_value_bytes", max_value_bytes),
            ("keep_last", keep_last),
            ("background", background),
        ):
            if number is not None and not (type(number) is int and number > 0):
                raise UsageError(f"{name}={number!r}: give a number from 1, or None")
        if when is not None and not callable(when):
            raise UsageError(f"when={when!r}: give a function that is told the arguments")
        if not (isinstance(sample, int | float) and 0 < sample <= 1):
            raise UsageError(f"sample={sample!r}: give the part to record, above 0 and up to 1")
        if names and background is not None:
            # What the arguments hold must be known before the exception is told.
            raise UsageError("background=… goes without redact=…: a fork finds out too late for it")
        return cls(names, max_value_bytes, when, float(sample), keep_last, background)


class Recorded:
    """A function that is recorded: what of it is the same for all its calls.

    kind: `function`, `coroutine`, `generator` or `async generator`.
    """

    def __init__(self, function: FunctionType, kind: str, options: Options) -> None:
        self.function = function
        self.options = options
        self.redaction = Redaction(options.redact) if options.redact else None
        self.surroundings = Surroundings(function)
        self.is_plain = self.redaction is None and options.max_value_bytes is None
        self.is_simple = self.is_plain and options == Options(keep_last=options.keep_last)
        self.is_generator = kind.endswith("generator")
        self._kind = kind
        self._chance = random.Random(os.urandom(8)) if options.sample < 1 else None
        names = functions.parameters(function.__code__)
        self._positional = names.positional_only + names.positional
        self._by_keyword = frozenset(names.positional + names.keyword_only)
        self._more, self._others = names.varargs, names.varkw

    def __reduce__(self) -> tuple[Any, ...]:
        return Recorded, (self.function, self._kind, self.options)

    def is_wanted(self, args: Args, kwargs: Kwargs) -> bool:
        """Whether this call is to be recorded."""
        when = self.options.when
        if self._chance is not None and self._chance.random() >= self.options.sample:
            return False
        return when is None or bool(when(*args, **kwargs))

    def is_large(self, value: Any) -> bool:
        """Whether a value is to be pickled in the background."""
        least = self.options.background
        return least is not None and estimated(value) >= least

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """What is told of it once."""
        function = self.function
        source = source_of(function)
        text = None if source is None else source.text
        if text is not None and self.redaction is not None:
            text = self.redaction.scrubbing(Secrets(self.secrets)).text(text)
        return {
            "key": functions.key_of(function),
            "digest": version_of(function).hex(),
            "kind": self._kind,
            "source": text,
            "file": function.__code__.co_filename,
            "line": function.__code__.co_firstlineno,
            "parameters": self._positional,
            "code": code_digest(function.__code__).hex(),
            "keep_last": self.options.keep_last,
        }

    @functools.cached_property
    def secrets(self) -> Secrets:
        """What its defaults hold that is redacted."""
        found = Secrets()
        if self.redaction is not None:
            for each in self._defaults():
                found.add_values(self.redaction.named(each))
        return found

    def _defaults(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """By name: of the last positional parameters, and of the keywords."""
        last = self.function.__defaults__ or ()
        names = self._positional[len(self._positional) - len(last) :]
        return dict(zip(names, last, strict=True)), self.function.__kwdefaults__ or {}

    def redacted_defaults(self) -> tuple[Args | None, Kwargs | None]:
        """As the function has them, those with one of the names hidden."""
        assert self.redaction is not None
        last, keywords = map(self.redaction.by_name, self._defaults())
        return tuple(last.values()) or None, keywords or None

    def cleaned(
        self, value: Any, secrets: Secrets, *, of_call: bool = False
    ) -> tuple[Scrubbing, Any]:
        """A value without what is redacted, and what is needed to pickle it.

        of_call: it is what a call is made with.
        """
        assert self.redaction is not None
        if of_call:
            args, kwargs = value
            value = self.redacted(args, kwargs, secrets)
        self._search(value, secrets)  # what is found late may be in its beginning, too
        scrubbing = self.redaction.scrubbing(secrets)
        return scrubbing, scrubbing.value(value)

    def _search(self, value: Any, secrets: Secrets) -> None:
        """Find the secrets in a value, and in the exceptions that the traceback of one tells of."""
        assert self.redaction is not None
        error = value.raised if issubclass(type(value), Parts) else value
        others = behind(error) if issubclass(type(error), BaseException) else []
        scrubbing = self.redaction.scrubbing(secrets, searching=True)
        for each in (value, *others):
            with contextlib.suppress(NotPicklable):  # its parts will be looked at one by one
                # What is in objects is found as they are pickled.
                pickled(scrubbing.value(each), scrubbing)

    def redacted(self, args: Args, kwargs: Kwargs, secrets: Secrets) -> tuple[Args, Kwargs]:
        """Arguments of which those with one of the names are hidden, and those without any, too:
        what no parameter takes."""
        more = [self._more] * len(args[len(self._positional) :])
        hide = self._hiding(secrets)
        first = tuple(map(hide, (*self._positional, *more), args))
        return first, {
            name: hide(name if self._has(name) else self._others, each)
            for name, each in kwargs.items()
        }

    def _has(self, name: str) -> bool:
        assert self.redaction is not None
        return name in self._by_keyword or name in self.redaction

    def _hiding(self, secrets: Secrets) -> Callable[[str | None, Any], Any]:
        redaction = self.redaction
        assert redaction is not None

        def hide(name: str | None, value: Any) -> Any:
            if name is not None and name not in redaction:
                return value
            secrets.add_value(value)
            return hidden(value)

        return hide
