"""Make recorded calls again, and compare what comes of them with what was recorded.

Each runs in a disposable fork. Exit status 0: all are as they were; 1: some differ, or their
process failed; 2: some could not be run.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from snapshot.commands import stores
from snapshot.errors import UsageError
from snapshot.store import wording

if TYPE_CHECKING:
    from snapshot.replay.bulk import Verdict
    from snapshot.replay.executions import Debug
    from snapshot.replay.reanimation import Request
    from snapshot.store import Store

USAGE = (
    "ID... | --function F | --all [--changed] [--jobs N] [--timeout S] [--memory SIZE] "
    "[--files DIR] [--import-path DIR] [--recorded-code] [--mock F] [--cluster ADDRESS] "
    "[--debug] [--json] [--store WHERE]"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which calls, and how to make them."""
    stores.add_calls(parser)
    parser.add_argument("--all", action="store_true", help="all calls that have ended")
    parser.add_argument("--changed", action="store_true", help="those whose function has changed")
    parser.add_argument("--jobs", metavar="N", help="how many at once (default: the processors)")
    parser.add_argument("--timeout", metavar="TIME", help="for each call: 0.5, 90s, 2m")
    parser.add_argument("--memory", metavar="SIZE", help="how much each may grow: 500M, 2G")
    parser.add_argument(
        "--files", action="append", metavar="DIR", help="what they do there is gone"
    )
    parser.add_argument("--import-path", metavar="DIR", help="where modules are looked for first")
    parser.add_argument(
        "--recorded-code", action="store_true", help="run the source that was recorded"
    )
    parser.add_argument(
        "--mock", action="append", default=[], metavar="F", help="answer its calls as recorded"
    )
    parser.add_argument(
        "--debug", action="store_true", help="one call, in the debugger that goes backwards"
    )
    parser.add_argument(
        "--cluster", metavar="ADDRESS", help="of a dask scheduler, whose workers make the calls"
    )
    parser.add_argument("--json", action="store_true", help="tell the verdicts as JSON")
    stores.add_store(parser)


def execute(options: argparse.Namespace) -> int:
    """Make them, and say what came of them. Raises `UsageError`, `StoreError`, `UnknownCall`."""
    try:
        return _replay(options)
    except KeyboardInterrupt:
        print("snapshot replay: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _replay(options: argparse.Namespace) -> int:
    from snapshot.replay.reanimation import Request

    if options.debug:
        return _debug(options)
    request = Request(
        options.import_path, {}, options.recorded_code, tuple(options.mock), debug=None
    )
    with stores.store(options) as store:
        alone = len(options.ids) == 1 and options.function is None and not options.all
        if alone and options.cluster is None:
            return _one(options, store)
        verdicts = []
        numbers = list(_chosen(options, store, request))
        progress = stores.Progress(len(numbers), "calls")
        try:
            for verdict in _all(options, store, numbers, request):
                verdicts.append(verdict)
                progress.step()
        finally:
            progress.close()
    if options.json:
        stores.tell(json.dumps([asdict(each) for each in verdicts], indent=2))
    else:
        _print_table(verdicts)
    return _status(verdicts)


def _debug(options: argparse.Namespace) -> int:
    if len(options.ids) != 1 or options.function is not None or options.all:
        raise UsageError("--debug: one call at a time, give its id")
    if options.cluster or options.timeout or options.memory or options.files or options.json:
        raise UsageError("--debug goes without --cluster, --timeout, --memory, --files and --json")
    # First of all, while this process is small: what goes on is a child of it.
    from snapshot.core.timeline.starting import supervise

    member = supervise(kind="debugger")
    from snapshot.debugger.backwards import Pdb
    from snapshot.debugger.typed import read_no_further

    read_no_further()
    debugger = Pdb()
    with stores.store(options) as store:
        return _one(options, store, functools.partial(debugger.run_call, member))


def _one(options: argparse.Namespace, store: Store, debug: Debug | None = None) -> int:
    """One call alone, of which also the value and the output are of interest."""
    from snapshot.core.memory import freeze_to_the_end
    from snapshot.errors import CannotReanimate, DamagedObject, ForkError, NotPicklable
    from snapshot.replay.executions import number_of, reanimate_function
    from snapshot.replay.reanimation import in_words
    from snapshot.store.objects import Placeholder, text_of

    number = number_of(options.ids[0])
    call = store.calls.get(number)
    if options.changed or options.jobs is not None:
        raise UsageError("--changed and --jobs go with several calls")
    if options.own_process:
        freeze_to_the_end()
    began = time.perf_counter()
    try:
        made = reanimate_function(
            number,
            store,
            options.import_path,
            fork=debug is None,
            timeout=_seconds(options),
            memory=options.memory,
            recorded_code=options.recorded_code,
            mock=options.mock,
            files=options.files,
            compare=True,
            debug=debug or False,
        )
    except ForkError as error:
        status, lines, took, told = 1, [str(error)], 0.0, "failed"
    except (KeyboardInterrupt, GeneratorExit, MemoryError) as error:
        if error.__cause__ is None:  # it happened here, and not in the fork
            raise
        status, lines, took, told = 1, [f"{type(error).__name__}: {error}"], 0.0, "failed"
    except (CannotReanimate, NotPicklable, DamagedObject) as error:
        status, lines, took, told = 2, [str(error)], 0.0, "could not run"
    else:
        if debug is not None and type(made.error).__name__ == "BdbQuit":  # somebody has had enough
            return 0
        status, lines, took = (0 if made.matches else 1), made.differences, made.duration
        told = "matched" if made.matches else "differed"
    if options.json:
        took = took or time.perf_counter() - began
        verdict = {"id": number, "function": call.function.key, "status": told}
        stores.tell(json.dumps([verdict | {"differences": lines, "duration": took}], indent=2))
        return status
    if told in ("failed", "could not run"):
        stores.tell(f"call {number} of {call.function.key}: {told}: {lines[0]}")
        return status
    output = made.output
    stores.write(output if output[-1:] in ("", "\n") else output + "\n")
    value = made.value.text if isinstance(made.value, Placeholder) else text_of(made.value)
    stores.tell(value if made.error is None else f"! {in_words(made.error)}")
    stores.tell(str(made))
    return status


def _chosen(options: argparse.Namespace, store: Store, request: Request) -> Iterator[int]:
    from snapshot.replay.bulk import changed
    from snapshot.store.events import Outcome

    if options.all:
        if options.ids or options.function:
            raise UsageError("--all goes without ids and without --function")
        running = {each.id for each in store.calls.find(outcome=Outcome.running)}
        numbers = [each for each in store.calls.ids() if each not in running]
    elif not options.ids and options.function is None:
        raise UsageError("give the ids of calls, or --function, or --all")
    else:
        numbers = stores.chosen(options, store, everything=False)
    return changed(store, numbers, request) if options.changed else iter(numbers)


def _all(
    options: argparse.Namespace, store: Store, numbers: list[int], request: Request
) -> Iterator[Verdict]:
    from snapshot.core.executor import ForkExecutor
    from snapshot.replay.bulk import replay
    from snapshot.replay.cluster import workers

    jobs = options.jobs
    if jobs is not None and not (jobs.isdecimal() and len(jobs) < 10 and int(jobs) > 0):
        raise UsageError(f"--jobs {jobs}: give a number from 1")
    limits = {"timeout": _seconds(options), "memory": options.memory, "files": options.files}
    if options.cluster is not None:
        if store.place.url is None:
            raise UsageError("--cluster needs a store that its workers reach: a postgresql:// URL")
        with workers(options.cluster) as (executor, threads):
            ahead = 2 * (int(jobs) if jobs else threads)
            yield from replay(store, numbers, request, executor, ahead=ahead, limits=limits)
        return
    count = int(jobs) if jobs else len(os.sched_getaffinity(0))
    with ForkExecutor(count, reseed=False) as executor:
        yield from replay(store, numbers, request, executor, ahead=count, limits=limits)


def _seconds(options: argparse.Namespace) -> float | None:
    return None if options.timeout is None else wording.seconds(options.timeout)


def _print_table(verdicts: list[Verdict]) -> None:
    from snapshot.replay.bulk import STATUSES

    for each in verdicts:
        if each.status != "matched":
            stores.tell(f"call {each.id} of {each.function}: {each.status}")
            stores.tell(*(f"  {line}" for line in each.differences))
    if not verdicts:
        stores.tell("no such calls")
        return
    keys = sorted({each.function for each in verdicts})
    counts = Counter((each.function, each.status) for each in verdicts)
    width = max([len("all"), *map(len, keys)])
    stores.tell(" ".join([" " * width, *(f"{each:>13}" for each in STATUSES)]))
    for key in keys:
        cells = (f"{counts[key, each] or '':>13}" for each in STATUSES)
        stores.tell(" ".join([f"{key:<{width}}", *cells]).rstrip())
    if len(keys) != 1:
        total = Counter(each.status for each in verdicts)
        cells = (f"{total[each] or '':>13}" for each in STATUSES)
        stores.tell(" ".join([f"{'all':<{width}}", *cells]).rstrip())


def _status(verdicts: list[Verdict]) -> int:
    found = {each.status for each in verdicts}
    if "could not run" in found:
        return 2
    return 1 if found & {"differed", "failed"} else 0
