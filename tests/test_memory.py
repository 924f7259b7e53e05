"""Memory: huge pages, frozen collectors, and what a process has for itself alone."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from snapshot.core import memory
from snapshot.core.memory import Compacted, compact, private_memory, size
from tests.processes import Result

MIB = 1 << 20
HUGE = 2 * MIB

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
capable = pytest.mark.skipif(
    memory.why_not_compact() is not None, reason=str(memory.why_not_compact())
)

# What the programs below begin with.
PRELUDE = """
import ctypes, gc, mmap, os, sys, weakref
from snapshot.core.memory import compact, freeze, private_memory

MIB = 1 << 20

def total(name):
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

def mapping(length):
    return mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

def small_pages(length):
    buffer = mapping(length)
    buffer.madvise(mmap.MADV_NOHUGEPAGE)
    buffer[:] = bytes(range(1, 251)) * (length // 250) + b"x" * (length % 250)
    return buffer

def in_child(action):
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writable, str(action()).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return int(os.read(readable, 100))
"""


@capable
def test_compact_collapses_what_is_there_and_changes_no_byte(
    python: Callable[..., Result],
) -> None:
    result = python(
        PRELUDE
        + """
buffer = small_pages(64 * MIB)
content = bytes(buffer)
buffer.madvise(mmap.MADV_HUGEPAGE)
before = total("AnonHugePages:")
done = compact()
grown = total("AnonHugePages:") - before
assert done.reason is None, done
assert 32 * MIB <= done.collapsed <= grown, (grown, done)
assert done.looked >= 64 * MIB - 4 * MIB and done.seconds > 0, done
assert buffer[:] == content
again = compact()
assert again.collapsed < 8 * MIB, again
print(done)
"""
    )
    assert result.code == 0, result
    assert result.stdout.startswith("collapsed ")
    assert " MiB to huge pages in " in result.stdout


@capable
def test_compact_finds_what_the_interpreter_itself_allocated(python: Callable[..., Result]) -> None:
    result = python(
        PRELUDE
        + """
heap = [[number] for number in range(500_000)]
done = compact()
assert done.collapsed >= 16 * MIB, done
assert heap == [[number] for number in range(500_000)]
"""
    )
    assert result.code == 0, result


@capable
@pytest.mark.parametrize(
    "touch",
    [
        pytest.param("pass", id="never touched"),
        pytest.param("buffer[:: mmap.PAGESIZE]", id="only read: the shared page of zeros"),
        pytest.param("buffer[:: 8 * mmap.PAGESIZE] = b'x' * 4096", id="one page in eight written"),
    ],
)
def test_compact_does_not_make_sparse_memory_resident(
    python: Callable[..., Result], touch: str
) -> None:
    result = python(
        PRELUDE
        + f"""
grown = []
for _ in range(3):  # the kernel itself collapses sparse memory, 16 MiB every ten seconds
    compact()  # so that the interpreter's own memory is done
    buffer = mapping(128 * MIB)
    buffer.madvise(mmap.MADV_NOHUGEPAGE)
    {touch}
    buffer.madvise(mmap.MADV_HUGEPAGE)
    before = total("Rss:")
    compact()
    grown.append(total("Rss:") - before)
assert min(grown) < 8 * MIB, grown
"""
    )
    assert result.code == 0, result


@capable
def test_compact_in_a_child_does_not_copy_what_it_shares(python: Callable[..., Result]) -> None:
    result = python(
        PRELUDE
        + """
buffer = small_pages(64 * MIB)
buffer.madvise(mmap.MADV_HUGEPAGE)
def act():
    compact()
    return private_memory(os.getpid())
assert in_child(act) < 32 * MIB
"""
    )
    assert result.code == 0, result


@capable
def test_compact_goes_on_where_the_program_wants_no_huge_pages(
    python: Callable[..., Result],
) -> None:
    result = python(
        PRELUDE
        + """
unwanted, wanted = small_pages(16 * MIB), small_pages(16 * MIB)
wanted.madvise(mmap.MADV_HUGEPAGE)
done = compact()
assert done.reason is None and done.refused >= 12 * MIB and done.collapsed >= 8 * MIB, done
print(done)
"""
    )
    assert result.code == 0, result
    assert "; the kernel refused " in result.stdout


@linux
def test_compact_says_that_huge_pages_are_switched_off(python: Callable[..., Result]) -> None:
    result = python(
        PRELUDE
        + """
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE
done = compact()
assert done.reason and (done.looked, done.collapsed, done.refused) == (0, 0, 0), done
print(done)
"""
    )
    assert result.code == 0, result
    assert result.stdout.startswith("nothing was collapsed to huge pages: ")


def test_compact_says_that_the_kernel_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_madvise", lambda _address, _length: errno.EINVAL)
    monkeypatch.setattr(memory, "_HUGE_PAGE_SIZE", Path(__file__))
    monkeypatch.setattr(sys, "platform", "linux")
    assert str(compact()) == (
        "nothing was collapsed to huge pages: "
        "this kernel cannot (madvise: Invalid argument), Linux from 6.1 on can"
    )


def test_compact_says_that_the_kernel_was_built_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "_HUGE_PAGE_SIZE", tmp_path / "missing")
    monkeypatch.setattr(sys, "platform", "linux")
    assert compact().reason == "this kernel has no transparent huge pages"


@capable
def test_compact_says_that_it_may_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert compact().reason == "this process may not read its own /proc/self/pagemap"


def test_compact_says_that_this_is_not_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert compact().reason == "only Linux, from 6.1 on, can"


@capable
@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EAGAIN, errno.EBUSY])
def test_compact_counts_what_is_refused(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    there = bytearray(b"x" * 8 * MIB)
    monkeypatch.setattr(memory, "_madvise", lambda _address, length: number if length else 0)
    done = compact()
    assert done.reason is None
    assert done.refused >= 4 * MIB
    assert len(there) == 8 * MIB


def test_a_refused_run_is_tried_again_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def refuse(address: int, length: int) -> int:
        asked.append((address, length))
        return 0 if (address, length) in [(0, HUGE), (2 * HUGE, HUGE)] else errno.EAGAIN

    monkeypatch.setattr(memory, "_madvise", refuse)
    assert memory._collapse([0, HUGE, 2 * HUGE], HUGE) == HUGE
    assert asked == [(0, 3 * HUGE), (0, HUGE), (HUGE, HUGE), (2 * HUGE, HUGE)]


def test_what_lies_between_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def accept(address: int, length: int) -> int:
        asked.append((address, length))
        return 0

    monkeypatch.setattr(memory, "_madvise", accept)
    assert memory._collapse([0, 2 * HUGE], HUGE) == 0
    assert asked == [(0, HUGE), (2 * HUGE, HUGE)]
    assert memory._collapse([], HUGE) == 0


@capable
def test_ctrl_c_ends_compact(monkeypatch: pytest.MonkeyPatch) -> None:
    there = bytearray(b"x" * 8 * MIB)

    def interrupted(_address: int, length: int) -> int:
        if length:
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(memory, "_madvise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compact()
    assert len(there) == 8 * MIB


def test_compact_collects_cycles_older_than_a_snapshot(python: Callable[..., Result]) -> None:
    result = python(
        PRELUDE
        + """
class Node: pass
node = Node()
node.itself = node
alive = weakref.ref(node)
freeze()
del node
gc.collect(), compact()
assert alive() is not None
compact(collect=True)
assert alive() is None
"""
    )
    assert result.code == 0, result


def test_a_frozen_heap_is_not_copied_by_collecting(python: Callable[..., Result]) -> None:
    result = python(
        PRELUDE
        + """
heap = [[] for _ in range(1_000_000)]
def act():
    gc.collect()
    return private_memory(os.getpid())
assert in_child(act) > 32 * MIB
freeze()
assert in_child(act) < 16 * MIB
"""
    )
    assert result.code == 0, result


@pytest.mark.parametrize(
    ("freezes", "seen"), [("freeze()", "[after, before]"), ("freeze_to_the_end()", "[after]")]
)
def test_what_is_frozen_to_the_end_is_out_of_the_last_runs_sight(
    python: Callable[..., Result], freezes: str, seen: str
) -> None:
    result = python(
        f"""
from snapshot.core.memory import freeze, freeze_to_the_end

class Node:
    def __init__(self, name):
        self.name, self.itself = name, self
    def __del__(self):
        print(self.name)

Node("before")
{freezes}
Node("after")
freeze()
Node("after")
"""
    )
    names = sorted(set(result.stdout.split()))
    assert f"[{', '.join(names)}]" == seen, result


@linux
def test_private_memory_is_what_a_child_has_touched(python: Callable[..., Result]) -> None:
    result = python(
        PRELUDE
        + """
buffer = small_pages(64 * MIB)
said, say = os.pipe()
heard, hear = os.pipe()
pid = os.fork()
if pid == 0:
    buffer[: 16 * MIB : mmap.PAGESIZE] = b"x" * (16 * MIB // mmap.PAGESIZE)
    os.write(say, b"done")
    os.read(heard, 1)
    os._exit(0)
os.read(said, 4)
assert 16 * MIB <= private_memory(pid) < 32 * MIB, private_memory(pid)
os.write(hear, b"x")
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
assert private_memory(pid) is None  # ended, not reaped
os.waitpid(pid, 0)
assert private_memory(pid) is None
"""
    )
    assert result.code == 0, result


def test_private_memory_of_this_process_and_of_none() -> None:
    there = mmap.mmap(-1, 8 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    before = private_memory(os.getpid())
    there[:] = b"x" * len(there)
    after = private_memory(os.getpid())
    assert before is not None
    assert after is not None
    assert after - before >= 6 * MIB
    there.close()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert private_memory(ended.pid) is None


def test_private_memory_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert (private_memory(os.getpid()) or 0) > MIB
    assert private_memory(ended.pid) is None


def test_compacted_is_a_sentence() -> None:
    done = Compacted(looked=3 << 29, collapsed=1 << 30, seconds=0.412)
    text = "collapsed 1.0 GiB to huge pages in 0.41 s, having looked at 1.5 GiB"
    assert str(done) == text
    refusal = Compacted(3 << 29, 1 << 30, 4 * MIB, 0.412)
    assert str(refusal) == f"{text}; the kernel refused 4.0 MiB"


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "?"), (0, "0 B"), (20480, "20.0 KiB"), (3 << 19, "1.5 MiB"), (2 << 30, "2.0 GiB")],
)
def test_sizes_for_people(count: int | None, text: str) -> None:
    assert size(count) == text


IMMORTAL = """
import json, sys, types
import json.decoder
from snapshot.core.immortal import Immortals

def of_the_program():
    return len

def counts(*things):
    return [sys.getrefcount(each) == sys.getrefcount(None) for each in things]

class Proxy:
    @property
    def __class__(self):
        raise RuntimeError("it stands for nothing now")

json.added = of_the_program
json.proxy = Proxy()
made = types.ModuleType("made")
exec("def function(): pass", vars(made))
sys.modules["made"] = made
immortals = Immortals()
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no immortal objects before Python 3.12")
def test_what_libraries_define_is_immortal_and_what_the_program_defines_is_not(
    python: Callable[..., Result],
) -> None:
    result = python(
        IMMORTAL
        + """
assert immortals.add() > 1000
assert immortals.add() == 0
decoder = json.decoder.JSONDecoder
assert all(counts(json, vars(json), json.dumps, json.dumps.__code__, decoder, decoder.decode))
assert all(counts(decoder.decode.__code__, len, str.join, json.decoder.NaN))
assert not any(counts(of_the_program, of_the_program.__code__, made, made.function))
assert not any(counts(sys.modules["__main__"], vars(sys.modules["__main__"])))
import tomllib
assert not any(counts(tomllib.loads))
assert immortals.add() > 0
assert all(counts(tomllib.loads, json.dumps))
import gc, wave, weakref
class Big: pass
big = Big()
gone = weakref.ref(big)
wave.Wave_read.patched = (lambda big: lambda self, other=big: big)(big)
wave.hook = (big,)
wave.bound = big.__init__
immortals.add()
del wave.Wave_read.patched, wave.hook, wave.bound, big
gc.collect()
assert gone() is None
del json.added
assert json.loads(json.dumps([1])) == [1]
"""
    )
    assert (result.code, result.stderr) == (0, "")


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="there are immortal objects")
def test_where_there_are_no_immortal_objects_there_are_none(
    python: Callable[..., Result],
) -> None:
    result = python(IMMORTAL + "assert immortals.add() == 0 and not any(counts(json, json.dumps))")
    assert (result.code, result.stderr) == (0, "")
