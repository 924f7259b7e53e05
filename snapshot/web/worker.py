"""The process of a job: does one task, tells of it, and ends.

The task comes as JSON on standard input. The arguments are the number of a descriptor, and that of
the server's process. To the descriptor goes, a line of JSON each, what is told: how far it is, the
result, or why there is none. Standard output and error are the task's own. A task is a function
`work(details, tell)` of a module here, which returns its result.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from snapshot.core.process import die_with
from snapshot.errors import SnapshotError

# The modules that do them.
TASKS = {
    "inventory": "counting",
    "reanimate": "reanimating",
    "references": "referring",
    "remove": "removing",
    "vacuum": "vacuuming",
}

Tell = Callable[[int, int, str], None]


def main() -> int:
    """Do the task; 0 if it was done."""
    told, parent = map(int, sys.argv[1:])
    die_with(parent)
    os.set_inheritable(told, False)

    def tell(**facts: Any) -> None:
        with os.fdopen(os.dup(told), "w") as file:
            file.write(json.dumps(facts) + "\n")

    wanted = json.load(sys.stdin)
    module = importlib.import_module(f"snapshot.web.{TASKS[wanted['task']]}")
    try:
        result = module.work(
            wanted["details"],
            lambda done, total, what: tell(done=done, total=total, what=what),
        )
    except SnapshotError as error:
        tell(error=str(error))
        return 1
    sys.stdout.flush()
    tell(result=result)
    return 0
