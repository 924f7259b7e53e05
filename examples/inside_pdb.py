"""The same inside the debugger: it opens in an experiment, and then again where you were.

    $ python examples/inside_pdb.py
    (Pdb 0) functions.clear()
    (Pdb 0) revert
    snapshot: back at 0 (examples/inside_pdb.py:23 <module>); the experiment reverted after 9 s
    (Pdb) p longest(functions)
    'difflib._mdiff with 268 lines'
    (Pdb) c
    5287 functions

With PYTHONBREAKPOINT=snapshot.set_trace every `breakpoint()` does this, in any program.
"""

from __future__ import annotations

from explore import load, longest

from snapshot import set_trace

functions = load()
set_trace(header=f"the longest function is {longest(functions)}")
print(len(functions), "functions")
