"""Memory: what makes a fork cheap, and what a process has for itself alone.

A fork copies the page tables, one entry for each 4 KiB that is present, and its end takes them
down again; a huge page (2 MiB on most machines) is one entry. So `compact` turns the memory that
is there into huge pages, and `freeze` keeps a child's garbage collector from writing to it.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
import mmap
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MADV_COLLAPSE = 25  # madvise(2), since Linux 6.1
_SLICE = 32 << 20  # bytes for one system call: Ctrl-C is seen between two of them
_HUGE_PAGE_SIZE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
_ENTRY = 8  # bytes that /proc/PID/pagemap has for a page

# The highest byte of a pagemap entry: bit 63 is "present", bit 56 "mapped by nobody else".
_OURS = bytes(int(byte & 0x81 == 0x81) for byte in range(256))

_LIBC = ctypes.CDLL(None, use_errno=True)


class Compacted(NamedTuple):
    """What a call of `compact` did; as text, a sentence.

    looked: bytes that were present and this process's own, in the places where a huge page fits.
    collapsed: bytes that are in huge pages now and were not before.
    refused: bytes that the kernel would not collapse now: it has no free huge page (ENOMEM), they
        are pinned or move (EAGAIN, EBUSY), or the program wants no huge pages there (EINVAL).
    seconds: how long the call took.
    reason: why nothing can be collapsed here, a sentence without its full stop, else None.
    """

    looked: int = 0
    collapsed: int = 0
    refused: int = 0
    seconds: float = 0.0
    reason: str | None = None

    def __str__(self) -> str:
        if self.reason is not None:
            return f"nothing was collapsed to huge pages: {self.reason}"
        text = (
            f"collapsed {size(self.collapsed)} to huge pages in {self.seconds:.2g} s, "
            f"having looked at {size(self.looked)}"
        )
        return f"{text}; the kernel refused {size(self.refused)}" if self.refused else text


def freeze() -> None:
    """Keep the garbage collector, here and in every child, from the objects there are now.

    Collecting writes to each container that it looks at, and in a child such a write copies the
    page. Takes the same time however many objects there are. Frozen objects are still freed when
    their last reference goes; cycles of them are not, see `compact(collect=True)`, until the end of
    the program: an open file in a cycle is written out by the collector's last run.
    """
    _unfreeze_at_exit()
    gc.freeze()


def freeze_to_the_end() -> None:
    """The same, and what is frozen in this process stays so at the end of the program, too.

    For a command of ours that has nothing of anybody else's yet: the collector's last runs would
    take a tenth of its time. What comes after the last freeze is collected as ever.
    """
    freeze()
    atexit.unregister(gc.unfreeze)


@functools.cache
def _unfreeze_at_exit() -> None:
    atexit.register(gc.unfreeze)


def private_memory(pid: int) -> int | None:
    """Bytes of memory that this process shares with no other.

    None where that cannot be known: the process has ended, or is somebody else's.
    """
    if sys.platform == "linux":
        return _total(pid, b"Private_")
    import psutil  # here, since it takes longer to load than all the rest of this package

    try:
        return int(psutil.Process(pid).memory_full_info().uss)
    except psutil.Error:
        return None


def anonymous_memory(pid: int) -> tuple[int, int] | None:
    """Bytes of a process that are in no file: all of them, and its share of them.

    Of a page that several processes have, each has its share (proc(5), Pss). None where that cannot
    be known.
    """
    fields = dict(_rolled_up(pid))
    everything, share = fields.get(b"Anonymous:"), fields.get(b"Pss_Anon:")
    return None if everything is None or share is None else (everything, share)


def machine() -> tuple[int, int] | None:
    """Bytes of memory of the machine that are free, in the kernel's judgement, and that there are.

    None where that cannot be known.
    """
    try:
        lines = Path("/proc/meminfo").read_bytes().splitlines()
    except OSError:
        return None
    fields = {line.split()[0]: int(line.split()[1]) << 10 for line in lines}
    return fields[b"MemAvailable:"], fields[b"MemTotal:"]


def own_memory() -> int:
    """Bytes that are resident here and in no file: a cheap estimate, shared ones included."""
    if sys.platform != "linux":
        return 0
    _, resident, shared, *_ = Path("/proc/self/statm").read_bytes().split()
    return (int(resident) - int(shared)) * mmap.PAGESIZE


def compact(*, collect: bool = False, seconds: float | None = None) -> Compacted:
    """Collapse this process's memory to huge pages, so that each later fork of it is cheap.

    For large data that is loaded once: collapsing takes 0.3 to 4 seconds a GiB, a second call
    only looks. Done are places at least half of whose pages are present and shared with no other
    process. So memory that was never written stays untouched, and what an experiment shares with
    the original is not copied: call it before the snapshot. It can be interrupted by Ctrl-C, and
    keeps what it has done so far.

    collect: free cycles older than the last snapshot first. They are out of the garbage
        collector's sight until then; the next snapshot looks through all objects anew.
    seconds: stop when so much time is over, at the next 32 MiB; None, the default, is never.

    Returns a `Compacted`. Where the kernel cannot do it (before Linux 6.1, another system, not
    permitted) nothing is raised: the `reason` says why.
    """
    begun = time.perf_counter()
    if collect:
        # Not frozen again here: a snapshot looks for open files among what is not frozen.
        gc.unfreeze()
        gc.collect()
    reason = why_not_compact()
    if reason is not None:
        return Compacted(seconds=time.perf_counter() - begun, reason=reason)
    before = _total("self", b"AnonHugePages:") or 0
    looked = refused = 0
    huge = int(_HUGE_PAGE_SIZE.read_text())
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        for begin, end in _slices(huge):
            if seconds is not None and time.perf_counter() - begun > seconds:
                break
            present, chunks = _dense(pagemap.fileno(), begin, end, huge)
            looked += present
            refused += _collapse(chunks, huge)
    after = _total("self", b"AnonHugePages:") or 0
    return Compacted(looked, max(0, after - before), refused, time.perf_counter() - begun)


def size(count: int | None) -> str:
    """Bytes for people: `0 B`, `20.0 KiB`, `1.5 MiB`, `2.0 GiB`; `?` where unknown."""
    if count is None:
        return "?"
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} B"


def why_not_compact() -> str | None:
    """Why this process cannot collapse memory, None where it can."""
    if sys.platform != "linux":
        return "only Linux, from 6.1 on, can"
    if not _HUGE_PAGE_SIZE.exists():
        return "this kernel has no transparent huge pages"
    # For no bytes at all the answer is whether the kernel knows the advice: madvise(2).
    if number := _madvise(0, 0):
        return f"this kernel cannot (madvise: {os.strerror(number)}), Linux from 6.1 on can"
    if not os.access("/proc/self/pagemap", os.R_OK):
        return "this process may not read its own /proc/self/pagemap"
    if b"\nTHP_enabled:\t0\n" in Path("/proc/self/status").read_bytes():
        return "huge pages are switched off for this process (prctl PR_SET_THP_DISABLE)"
    return None


def _slices(huge: int) -> Iterator[tuple[int, int]]:
    """The memory that could be in huge pages: pieces that begin and end where one does."""
    length = max(_SLICE, huge)
    for begin, end in _regions():
        first, last = -(-begin // huge) * huge, end // huge * huge
        for address in range(first, last, length):
            yield address, min(address + length, last)


def _regions() -> Iterator[tuple[int, int]]:
    """This process's private, anonymous, writable mappings, its stacks excepted."""
    for line in Path("/proc/self/maps").read_bytes().splitlines():
        span, mode, _, _, inode, *rest = line.split(maxsplit=5)
        name = rest[0] if rest else b""
        unnamed = not name or name == b"[heap]" or name.startswith(b"[anon:")
        if mode.startswith(b"rw") and mode.endswith(b"p") and inode == b"0" and unnamed:
            begin, _, end = span.partition(b"-")
            yield int(begin, 16), int(end, 16)


def _dense(pagemap: int, begin: int, end: int, huge: int) -> tuple[int, list[int]]:
    """How many bytes there are present and ours; where a huge page is at least half so."""
    scale = mmap.PAGESIZE // _ENTRY
    entries = os.pread(pagemap, (end - begin) // scale, begin // scale)
    ours = entries[_ENTRY - 1 :: _ENTRY].translate(_OURS)
    pages = huge // mmap.PAGESIZE
    counts = [ours.count(1, first, first + pages) for first in range(0, len(ours), pages)]
    chunks = [begin + huge * i for i, count in enumerate(counts) if 2 * count >= pages]
    return sum(counts) * mmap.PAGESIZE, chunks


def _collapse(chunks: list[int], huge: int) -> int:
    """Collapse the huge pages that begin there. Returns how many bytes the kernel refused."""
    if not chunks:
        return 0
    length = len(chunks) * huge
    if chunks[-1] + huge - chunks[0] == length and _madvise(chunks[0], length) == 0:
        return 0
    return sum(huge for chunk in chunks if _madvise(chunk, huge) != 0)


def _madvise(address: int, length: int) -> int:
    """Ask the kernel to collapse. Returns 0, or the error's number."""
    arguments = (ctypes.c_void_p(address), ctypes.c_size_t(length), ctypes.c_int(_MADV_COLLAPSE))
    return ctypes.get_errno() if _LIBC.madvise(*arguments) else 0


def _total(pid: int | str, names: bytes) -> int | None:
    """The sum of those fields of /proc/PID/smaps_rollup, in bytes; None where it is not to be had.

    names: how the names of the fields begin.
    """
    wanted = [amount for name, amount in _rolled_up(pid) if name.startswith(names)]
    return sum(wanted) if wanted else None


def _rolled_up(pid: int | str) -> list[tuple[bytes, int]]:
    """The fields of that file, with their colons, and their bytes; none where it cannot be read."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines()
    except OSError:
        return []
    fields = (line.split() for line in lines[1:])  # the first one is no field
    return [(name, int(amount) << 10) for name, amount, *_ in fields]
