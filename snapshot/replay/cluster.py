"""Workers on other machines, by dask.distributed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from snapshot.errors import UsageError

_PATIENCE = 10  # seconds to wait for the scheduler, and for its first worker


@contextmanager
def workers(address: str) -> Iterator[tuple[Executor, int]]:
    """An executor on the workers of a scheduler, and how many threads they have.

    They need this package, the modules of the functions, and the store: a PostgreSQL one, with
    SNAPSHOT_OBJECTS where large values were recorded.

    Raises `UsageError` where distributed is not installed, or nobody answers at that address.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--cluster needs the extra `cluster`: pip install distributed") from None
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"no dask scheduler answers at {address!r}: {error}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError:
            raise UsageError(f"the dask scheduler at {address!r} has no workers") from None
        count = sum(client.nthreads().values())
        with client.get_executor(pure=False) as executor:
            yield executor, count
