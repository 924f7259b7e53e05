"""States of the timeline without a prompt: freezing, going back, memory.

`python -m benchmarks.timeline`

What a prompt adds is in `benchmarks.prompts`, what others take in `benchmarks.checkouts`.
"""

from __future__ import annotations

import functools
import gc
import mmap
import os
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.harness import (
    bare,
    by_turns,
    check,
    check_time,
    compare,
    main,
    show,
    small_pages,
    timed,
)
from snapshot import compact
from snapshot.core import process
from snapshot.core.timeline.asking import About
from snapshot.core.timeline.member import Landing, Member
from snapshot.core.timeline.starting import supervise

os.environ["SNAPSHOT_QUIET"] = "1"

CHANGED = 3 << 20  # bytes of the 300 MiB that each cell changes
STATES = 50


def started() -> Member:
    """This process as that of a timeline, before its first cell."""
    member = supervise()
    assert member.freeze(About(), time.monotonic()) is None
    return member


def cell(member: Member, work: Callable[[], object] = int) -> Landing | None:
    """Run that as a cell, and make a state."""
    member.begun("work()")
    work()
    return member.freeze(About("work()"), time.monotonic())


def forget(member: Member, state: int) -> None:
    """Give a state up, and wait until its process has gone."""
    pid = member.request("state", state=state).pid
    member.request("clear", cells=[state])
    process.has_ended(pid)


def there_and_back(member: Member, state: int) -> tuple[float, float]:
    """Seconds until the copy of a state is live, and until this process is again."""
    landing = member.travel(state=state, brought={"begun": time.perf_counter()})
    back = time.perf_counter() - landing.brought["begun"]
    return landing.brought["there"], back


def goes_back(member: Member, landing: Landing) -> None:
    """In a woken copy: say when it was live, and end."""
    now = time.perf_counter()
    there = now - landing.brought["begun"]
    member.travel(branch=1, drop=True, brought={"begun": now, "there": there})


def _bare_call() -> float:
    """Seconds of the system call alone, in the parent."""
    begun = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    seconds = time.perf_counter() - begun
    os.waitpid(pid, 0)
    return seconds


def _freeze(member: Member) -> float:
    member.begun("work()")
    seconds = timed(lambda: member.freeze(About("work()"), time.monotonic()))
    forget(member, member.at)
    return seconds


def _freezing(what: str, member: Member, rounds: int) -> None:
    ours, floor, call = by_turns(rounds, lambda: _freeze(member), lambda: timed(bare), _bare_call)
    compare(f"{what}: freeze", ours, floor, "bare", 1.3)
    compare(f"{what}: freeze", ours, call, "fork call alone")


def freezing() -> None:
    member = started()
    _freezing("small", member, 300)
    member.tell("bye")


def _travel(what: str, member: Member, state: int, rounds: int = 30) -> None:
    runs = [(*there_and_back(member, state), timed(bare)) for _ in range(rounds)]
    there, back, floor = (median(side) for side in zip(*runs, strict=True))
    check_time(f"{what}: past(n)", there, 0.05)
    compare(f"{what}: past(n)", there, floor, "bare", 2)
    check_time(f"{what}: present()", back, 0.05)
    compare(f"{what}: present()", back, floor, "bare", 2)
    listing = median(timed(functools.partial(member.ask, state, "listing")) for _ in range(rounds))
    check_time(f"{what}: vars(n)", listing, 0.1)


def large() -> None:
    """1 GiB in 4 KiB pages and a million dicts, then the same in huge pages."""
    member = started()
    namespace = vars(sys.modules["__main__"])
    array = namespace["array"] = small_pages(1 << 30)
    namespace["objects"] = [{"number": number} for number in range(1_000_000)]
    _all_of("1 GiB, 1 M dicts", member)
    array.madvise(mmap.MADV_HUGEPAGE)
    show("the same compacted: compact()", str(compact()))
    _all_of("the same compacted", member)
    member.tell("bye")


def _all_of(what: str, member: Member) -> None:
    _freezing(what, member, 20)
    landing = cell(member)
    if landing is not None:
        goes_back(member, landing)
    state = member.at
    _travel(what, member, state)
    forget(member, state)


def _held(member: Member) -> Sequence[int]:
    """Bytes that each state has for itself, but the last one, which has changed nothing yet."""
    return [state.memory for state in member.request("states").frozen()][1:-1]


def report(what: str, held: Sequence[int]) -> None:
    show(f"{what}: median of {len(held)} states", f"{median(held) / 1e6:.1f} MB")
    check(f"{what}: the largest", max(held), 10 << 20)


def _memory(what: str, *, collects: bool, count: int) -> None:
    member = started()
    data = bytearray(os.urandom(1 << 20)) * 300
    objects = [{"number": number} for number in range(count)]

    def work(number: int) -> None:
        data[:CHANGED] = bytes([number]) * CHANGED
        if collects:
            gc.collect()

    for number in range(STATES + 2):
        cell(member, functools.partial(work, number))
    report(what, _held(member))
    objects.clear()
    member.tell("bye")


def memory() -> None:
    _memory("1 % of 300 MiB changed", collects=False, count=0)


def memory_collected() -> None:
    _memory("the same, 1 M dicts, gc.collect()", collects=True, count=1_000_000)


if __name__ == "__main__":
    cases = {
        "freezing": freezing,
        "large": large,
        "memory": memory,
        "memory_collected": memory_collected,
    }
    raise SystemExit(main("benchmarks.timeline", cases))
