"""What the user has told the debugger, which goes along to every moment."""

from __future__ import annotations

import pdb
import pickle
from bdb import Breakpoint
from types import FrameType

# Attributes of `pdb.Pdb`; what a version does not have is passed over.
_OF_PDB = (
    *("aliases", "breaks", "cmdqueue", "commands", "commands_doprompt", "commands_silent"),
    *("lastcmd", "rcLines", "shown", "watches"),
)


def of(debugger: pdb.Pdb) -> bytes:
    """Breakpoints with their numbers, conditions and hits, commands, aliases, displays, watches,
    and what is still to be done of `one ;; another`."""
    told = {name: vars(debugger)[name] for name in _OF_PDB if name in vars(debugger)}
    numbers = Breakpoint.next, Breakpoint.bplist, Breakpoint.bpbynumber
    return pickle.dumps((told, numbers))


def put(debugger: pdb.Pdb, data: bytes) -> None:
    """The debugger of another moment knows the same."""
    told, numbers = pickle.loads(data)
    vars(debugger).update(told)
    Breakpoint.next, Breakpoint.bplist, Breakpoint.bpbynumber = numbers


def names(frame: FrameType) -> set[str]:
    """Those that mean something of the frame itself, and no global."""
    code = frame.f_code
    return {*code.co_varnames, *code.co_cellvars, *code.co_freevars}
