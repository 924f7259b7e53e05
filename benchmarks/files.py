"""What an overlay adds to a snapshot: `-m benchmarks.files`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from benchmarks.harness import by_turns, check_time, main, milliseconds, show, small_pages, timed
from snapshot import keep, revert, snapshot

os.environ["SNAPSHOT_QUIET"] = "1"

AT_MOST = 0.020  # seconds that an overlay may add


def _there_and_back(directory: str | None) -> None:
    if snapshot(files=directory):
        revert()


def _compare(what: str, directory: str) -> None:
    heap = small_pages(10 << 20)
    first = timed(lambda: _there_and_back(directory))
    show(f"{what}: the first snapshot", milliseconds(first))
    ours, plain = by_turns(
        100,
        lambda: timed(lambda: _there_and_back(directory)),
        lambda: timed(lambda: _there_and_back(None)),
    )
    check_time(f"{what}: an overlay adds", ours - plain, AT_MOST)
    heap.close()


def empty() -> None:
    """A directory with nothing in it."""
    with tempfile.TemporaryDirectory() as directory:
        _compare("an empty directory", directory)


def many() -> None:
    """10,000 files, of which the experiment touches none; and ten open for writing."""
    with tempfile.TemporaryDirectory() as directory:
        for number in range(10_000):
            place = Path(directory, str(number % 100))
            place.mkdir(exist_ok=True)
            (place / f"{number}").write_text(str(number))
        _compare("10,000 files", directory)
        files = [open(f"{directory}/{number}/{number}", "a") for number in range(10)]  # noqa: SIM115
        _compare("10,000 files, ten open for writing", directory)
        for file in files:
            file.close()


def spoiled() -> None:
    """100 files rewritten and renamed; looking for what changed is a part of the end."""

    def spoil(directory: str) -> None:
        for number in range(100):
            path = Path(directory, str(number))
            path.write_text("x" * 1000)
            path.rename(Path(directory, f"renamed {number}"))

    def there_and_back(directory: str) -> None:
        if snapshot(files=directory):
            spoil(directory)
            revert()

    with tempfile.TemporaryDirectory() as directory:
        for number in range(100):
            Path(directory, str(number)).write_text(str(number))
        whole, none = by_turns(
            50,
            lambda: timed(lambda: there_and_back(directory)),
            lambda: timed(lambda: _there_and_back(directory)),
        )
        show("100 files rewritten, renamed, rolled back", milliseconds(whole - none))


def kept() -> None:
    """1,000 files of 10 KiB rewritten, and kept."""
    with tempfile.TemporaryDirectory() as directory:
        content = b"x" * 10_240
        for number in range(1000):
            Path(directory, str(number)).write_bytes(content)
        if snapshot(files=directory):
            for number in range(1000):
                Path(directory, str(number)).write_bytes(content[::-1] + b"y")
            show("1,000 files of 10 KiB rewritten: keep()", milliseconds(timed(keep)))


CASES = {"empty": empty, "many": many, "spoiled": spoiled, "kept": kept}

if __name__ == "__main__":
    raise SystemExit(main("benchmarks.files", CASES))
