"""Files are not written to by a repeat, not even by code that the boundary does not know.

What a C library writes by itself would be written twice. Where it tries, it is refused, as on a
full disk: a difference that is named, and no harm.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator

from snapshot.core.mappings import shared_mappings

_LIMIT = resource.RLIMIT_FSIZE  # setrlimit(2): of regular files alone; Python ignores SIGXFSZ


class Shield:
    """Between this process and the files."""

    def __init__(self) -> None:
        self._before: int | None = None  # the limit that is the program's own

    def up(self) -> None:
        """What is written to regular files is refused, and shared maps of them are private."""
        if self._before is None:
            for each in shared_mappings():
                if each.of_file:
                    each.make_private()
            self._before, most = resource.getrlimit(_LIMIT)
            resource.setrlimit(_LIMIT, (0, most))

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What this debugger itself shows may go to a file, while it is up."""
        if self._before is None:
            yield
            return
        up, most = resource.getrlimit(_LIMIT)
        resource.setrlimit(_LIMIT, (self._before, most))
        try:
            yield
        finally:
            resource.setrlimit(_LIMIT, (up, most))

    def down(self) -> None:
        """Files can be written to again."""
        if self._before is not None:
            resource.setrlimit(_LIMIT, (self._before, resource.getrlimit(_LIMIT)[1]))
            self._before = None
