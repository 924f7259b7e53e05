"""What took long is kept, for as long as it would come to the same.

Here that is while this program runs; without `temporary`, it is so for the next one, too.
"""

from __future__ import annotations

import ast
import sysconfig
import time
from pathlib import Path

from snapshot.memo import FileContents, memoize

LONG = 50  # lines


@memoize(temporary=True)
def long_functions(file: FileContents) -> int:
    """How many functions of a file have more lines than that."""
    functions = [
        node
        for node in ast.walk(ast.parse(Path(file).read_bytes()))
        if isinstance(node, ast.FunctionDef)
    ]
    return sum((each.end_lineno or 0) - each.lineno > LONG for each in functions)


def count() -> str:
    """All of those in one package, and how it was found out."""
    begun, ran = time.perf_counter(), long_functions.misses
    files = sorted(Path(sysconfig.get_path("stdlib"), "email").rglob("*.py"))
    found = sum(long_functions(FileContents(each)) for each in files)
    ran = long_functions.misses - ran
    return (
        f"{found} are long, {ran} of {len(files)} files read ({time.perf_counter() - begun:.3f} s)"
    )


print(count())
print(count())
LONG = 20
print(count())
LONG = 50
print(count())
