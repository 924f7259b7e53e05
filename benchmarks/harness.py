"""What the benchmarks share: things timed by turns, memory of a known kind, a line a figure."""

from __future__ import annotations

import mmap
import os
import platform
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

SMALL_PAGE = 4096
_missed: list[str] = []


def main(module: str, cases: Mapping[str, Callable[[], None]]) -> int:
    """Run each case in a process of its own; given the name of one, run that one here.

    Returns the exit status: 1 if a figure missed its target.
    """
    if len(sys.argv) > 1:
        cases[sys.argv[1]]()
        return int(bool(_missed))
    print(machine(), flush=True)
    runs = [subprocess.run([sys.executable, "-m", module, case], check=False) for case in cases]
    return max(run.returncode for run in runs)


def machine() -> str:
    """What it runs on, in a line."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, {python}"


def timed(action: Callable[[], object]) -> float:
    """Seconds that the action takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def by_turns(rounds: int, *sides: Callable[[], float]) -> list[float]:
    """The median of what each of the sides returns, in seconds; they take turns: A B A B …"""
    runs = [[side() for side in sides] for _ in range(rounds)]
    return [median(side) for side in zip(*runs, strict=True)]


def compare(what: str, ours: float, other: float, name: str, at_most: float | None = None) -> None:
    """Print both medians and their ratio, and whether it is within its target."""
    ratio = ours / other
    verdict = "" if at_most is None else f" ({_verdict(what, ratio <= at_most, f'{at_most:g}')})"
    show(what, f"{milliseconds(ours)}, {name} {milliseconds(other)}, ratio {ratio:.2f}{verdict}")


def compare_peer(what: str, ours: float, other: float, name: str, at_least: float) -> None:
    """Print both, and how many times as long the peer takes."""
    times = other / ours
    verdict = _verdict(what, times >= at_least, f"{at_least:g}", "at least")
    took = f"{milliseconds(ours)}, {name} {milliseconds(other)}"
    show(what, f"{took}, {times:.0f} times as long ({verdict})")


def check(what: str, amount: int, at_most: int) -> None:
    """Print a number of bytes, and whether it is within its target."""
    verdict = _verdict(what, amount <= at_most, megabytes(at_most))
    show(what, f"{megabytes(amount)} ({verdict})")


def check_time(what: str, seconds: float, at_most: float) -> None:
    """Print a time, and whether it is within its target."""
    verdict = _verdict(what, seconds <= at_most, milliseconds(at_most))
    show(what, f"{milliseconds(seconds)} ({verdict})")


def python_with(*packages: str) -> str | None:
    """The interpreter of an environment of its own that has them, which is kept for the next run;
    None, with a line, where they cannot be installed."""
    home = Path.home() / ".cache" / "snapshot-benchmarks" / packages[0]
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
    install = [str(python), "-m", "pip", "install", "-q", *packages]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    if installed.returncode:
        show(packages[0], f"cannot be installed: {installed.stderr.strip().splitlines()[-1]}")
        return None
    return str(python)


def show(what: str, figure: str) -> None:
    """Print a figure."""
    print(f"{what:<50} {figure}", flush=True)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def bare() -> None:
    """The floor: fork, end at once, wait."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def small_pages(length: int) -> mmap.mmap:
    """Private memory of this process, all of it written, in pages of 4 KiB and no huge one."""
    before = huge_bytes()
    buffer = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    buffer.madvise(mmap.MADV_NOHUGEPAGE)
    pages = length // SMALL_PAGE
    buffer[::SMALL_PAGE] = b"x" * pages
    if huge_bytes() > before:
        raise SystemExit("the kernel gave huge pages where it was told not to")
    return buffer


def small_objects(count: int) -> list[list[object]]:
    """That many containers."""
    return [[] for _ in range(count)]


def huge_bytes() -> int:
    """Bytes of this process's memory that are in huge pages."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("AnonHugePages:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this kernel does not tell which memory is in huge pages")


def _verdict(what: str, met: bool, bound: str, word: str = "at most") -> str:
    if not met:
        _missed.append(what)
    return f"{word} {bound}: {'met' if met else 'missed'}"
