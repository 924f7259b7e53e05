"""Every function of Python's standard library: slow to read, and free to spoil.

python examples/explore.py           makes one experiment and comes back
snapshot-repl examples/explore.py    does so, too; the next experiment is yours
"""

from __future__ import annotations

import ast
import sysconfig
from pathlib import Path

from snapshot import last_experiment, revert, snapshot


def load() -> dict[str, int]:
    """The length of each function, in lines."""
    lengths = {}
    for path in Path(sysconfig.get_path("stdlib")).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef):
                lengths[f"{path.stem}.{node.name}"] = (node.end_lineno or 0) - node.lineno + 1
    return lengths


def longest(functions: dict[str, int]) -> str:
    """The longest function, and its length."""
    name = max(functions, key=lambda name: functions[name])
    return f"{name} with {functions[name]} lines"


if __name__ == "__main__":
    functions = load()
    print(f"{len(functions)} functions, the longest is {longest(functions)}")

    if snapshot("loaded"):
        # The experiment: another process, which has all the data and may do with it as it likes.
        for name in list(functions):
            if functions[name] > 50:
                del functions[name]
        revert(value=longest(functions))

    experiment = last_experiment()
    assert experiment is not None
    print(f"without those above 50 lines it is {experiment.value}")
    print(f"{len(functions)} functions are still here")
