"""What is deleted when it is not needed any more: finalizers, temporary files and directories."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Callable
from typing import Any

from snapshot.core.resources.resource import Resource, is_ours, mark_makers, replace_once


class _Aside:
    """The finalizers of the original, laid aside in a child that was just forked."""

    def __init__(self, registry: dict[Any, Any]) -> None:
        self._finalizers = registry.copy()
        registry.clear()

    def __contains__(self, finalizer: object) -> bool:
        return finalizer in self._finalizers

    def take_over(self, registry: dict[Any, Any]) -> None:
        """Those whose object is gone run, the others return."""
        registry.update(self._finalizers)
        for finalizer, info in list(self._finalizers.items()):
            if info.weakref() is None:
                finalizer()
        self._finalizers.clear()


_aside: list[_Aside] = []
_deferred: list[Callable[[], object]] = []


class Finalizers(Resource):
    module = "weakref"
    name = "`weakref.finalize`"
    in_experiment = "the original's do not run, whatever is deleted; those made here do"

    def lay_aside(self, module: Any) -> None:
        if module.finalize._registry:
            _aside.append(_Aside(module.finalize._registry))

    def finish(self, module: Any) -> None:
        """The exit handler that Python registered for it belongs to the original."""
        if module.finalize._registry:
            module.finalize._exitfunc()

    def take_over(self, module: Any) -> None:
        for each in _aside:
            each.take_over(module.finalize._registry)
        _aside.clear()


class TemporaryDirectories(Resource):
    module = "tempfile"
    name = "`TemporaryDirectory`"
    in_experiment = "`cleanup()` and the end of a `with` block leave the directory there"

    def install(self, module: Any) -> None:
        """It deletes its directory in `cleanup` even without its finalizer."""

        def make(cleanup: Any) -> Any:
            def guarded(self: Any) -> None:
                if any(self._finalizer in each for each in _aside):
                    _deferred.append(functools.partial(cleanup, self))
                else:
                    cleanup(self)

            return guarded

        replace_once(module.TemporaryDirectory, "cleanup", make)

    def take_over(self, module: Any) -> None:
        for cleanup in _deferred:
            cleanup()
        _deferred.clear()


class TemporaryFiles(Resource):
    module = "tempfile"
    name = "`NamedTemporaryFile`"
    in_experiment = "`close()` and the end of a `with` block close it and leave the file there"

    def __init__(self) -> None:
        self._closers: weakref.WeakSet[Any] | None = None  # None until there is one
        self._names: list[str] = []

    def install(self, module: Any) -> None:
        closer = module._TemporaryFileCloser
        if "_made_by" in vars(closer):
            return
        mark_makers(closer)
        make, end = closer.__init__, "cleanup" if hasattr(closer, "cleanup") else "close"
        finish = getattr(closer, end)

        @functools.wraps(make)
        def __init__(closer: Any, *args: Any, **kwargs: Any) -> None:
            make(closer, *args, **kwargs)
            if self._closers is None:
                self._closers = weakref.WeakSet()
            self._closers.add(closer)

        @functools.wraps(finish)
        def guarded(closer: Any, *args: Any, **kwargs: Any) -> None:
            if is_ours(closer) or not closer.delete:
                finish(closer, *args, **kwargs)
                return
            name, closer.delete = closer.name, False
            finish(closer, *args, **kwargs)
            self._names.append(name)

        closer.__init__ = __init__
        setattr(closer, end, guarded)

    def finish(self, module: Any) -> None:
        for closer in list(self._closers or ()):
            if closer._made_by == os.getpid():
                getattr(closer, "cleanup", closer.close)()

    def take_over(self, module: Any) -> None:
        for name in self._names:
            if os.path.exists(name):
                os.unlink(name)
        self._names.clear()
