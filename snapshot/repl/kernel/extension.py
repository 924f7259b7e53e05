"""`%load_ext snapshot` in a notebook: what it can do depends on the kernel."""

from __future__ import annotations

from typing import Any

from snapshot.core import hosts
from snapshot.core.messages import say


def load(shell: Any) -> None:
    """In the kernel "Python (snapshot)" all is there already; another one cannot travel."""
    if hosts.hangs():
        say(
            "snapshot: this kernel cannot travel, since its connection to the notebook would not "
            'come along: `snapshot jupyter install`, then choose the kernel "Python (snapshot)"'
        )
