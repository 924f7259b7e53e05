"""Going back, against Kishu's checkout and dill's reload: `python -m benchmarks.checkouts`.

Each of them in an environment of its own, made in ~/.cache/snapshot-benchmarks. The namespace is an
array of 1 GiB and a million dicts: about ten minutes. SNAPSHOT_BENCHMARK=small takes a hundredth.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import cache
from statistics import median

from benchmarks.harness import compare_peer, main, milliseconds, python_with, show
from benchmarks.timeline import goes_back, started, there_and_back
from snapshot.repl.timemachine import TimeMachine

_SCALE = 100 if os.environ.get("SNAPSHOT_BENCHMARK") == "small" else 1
_NUMBERS, _DICTS = (1 << 27) // _SCALE, 1_000_000 // _SCALE
_MAKE = (
    f"import numpy\narray = numpy.ones({_NUMBERS})\n"
    f"objects = [dict(number=number) for number in range({_DICTS})]"
)
_KISHU = f"""
import os, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
os.environ.update(ENV_KISHU_TEST_MODE="1", KISHU_PATH_ROOT=str(folder), IPYTHONDIR=str(folder))
import nbformat
from IPython.core.interactiveshell import InteractiveShell
from kishu.jupyterint import KishuForJupyter
from kishu.notebook_id import NotebookId

notebook = folder / "notebook.ipynb"
nbformat.write(nbformat.v4.new_notebook(), notebook)
shell = InteractiveShell.instance()
kishu = KishuForJupyter(NotebookId("notebook", notebook, "0"), ip=shell)
kishu.install_kishu_hooks()

def cell(source):
    begun = time.perf_counter()
    shell.run_cell(source, store_history=True).raise_error()
    return time.perf_counter() - begun

made = cell({_MAKE!r})
there = kishu._kishu_graph.head()
changed = cell("array[0] = 2.0")
begun = time.perf_counter()
kishu.checkout(there, skip_notebook=True)
back = time.perf_counter() - begun
assert shell.user_ns["array"][0] == 1 and len(shell.user_ns["objects"]) == {_DICTS}
print("took", made, changed, back)
"""
_DILL = f"""
import sys, time, dill
{_MAKE}
begun = time.perf_counter()
dill.dump_module(sys.argv[1] + "/state")
dumped = time.perf_counter()
array[0] = 2.0
loading = time.perf_counter()
dill.load_module(sys.argv[1] + "/state")
print("took", dumped - begun, time.perf_counter() - loading)
assert array[0] == 1 and len(objects) == {_DICTS}
"""


@cache
def _ours() -> float:
    """The median time of `past(n)` on the same namespace, made by a cell as a prompt runs it."""
    member = started()
    machine = TimeMachine(member)
    namespace: dict[str, object] = {}
    machine.begin(_MAKE)
    exec(_MAKE, namespace)
    landing = machine.end()
    if landing is not None:
        goes_back(member, landing)
    state = member.at
    ours = median(there_and_back(member, state)[0] for _ in range(20))
    member.tell("bye")
    return ours


def _run(program: str, *packages: str) -> list[float] | None:
    """What a program says in its own environment; None, with a line, where there is none."""
    python = python_with(*packages)
    if python is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [str(python), "-c", program, folder], stdout=subprocess.PIPE, text=True, check=True
        )
    *_, told = (line for line in done.stdout.splitlines() if line.startswith("took "))
    return [float(each) for each in told.split()[1:]]


def kishu() -> None:
    found = _run(_KISHU, "kishu==0.3.4", "numpy")
    if found is not None:
        made, changed, back = found
        show("Kishu: the cell that makes them, checkpointed", milliseconds(made))
        show("Kishu: one that changes 8 bytes", milliseconds(changed))
        compare_peer("past(n)", _ours(), back, "Kishu's checkout", 500)


def dill() -> None:
    found = _run(_DILL, "dill", "numpy")
    if found is not None:
        dumped, loaded = found
        show("dill: dump_module", milliseconds(dumped))
        compare_peer("past(n)", _ours(), loaded, "dill's load_module", 20)


if __name__ == "__main__":
    if _SCALE > 1:
        print(f"a small run: {_NUMBERS} numbers, {_DICTS} dicts", file=sys.stderr)
    raise SystemExit(main("benchmarks.checkouts", {"kishu": kishu, "dill": dill}))
