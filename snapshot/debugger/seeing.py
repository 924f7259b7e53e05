"""What a frame holds is seen, and not kept: an object goes when the program lets it go."""

from __future__ import annotations

import sys
from inspect import CO_OPTIMIZED
from types import FrameType
from typing import Any

from snapshot.debugger.session import names

_OF_PROMPT = {"__return__", "__exception__"}  # what pdb puts there
_OURS_ALONE = 3  # the frame, the variable, the argument: the program has not called `locals()`


def let_go(frame: FrameType) -> None:
    """Forget what `f_locals` was looked at for.

    Before Python 3.13 that is a dictionary, which stays, and holds the values of then; names that
    were made at a prompt stay in it. From later ones nothing can be taken out.
    """
    local: Any = frame.f_locals
    if type(local) is not dict:
        local.update(dict.fromkeys(_OF_PROMPT.intersection(local)))
        return
    for name in _OF_PROMPT:
        local.pop(name, None)
    if sys.version_info < (3, 12):
        return  # after a trace function, what is not there is taken from the frame itself, too
    if frame.f_code.co_flags & CO_OPTIMIZED and sys.getrefcount(local) <= _OURS_ALONE:
        for name in names(frame):
            local.pop(name, None)
