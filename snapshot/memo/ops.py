"""The log of what memo does: a line of JSON for each event, at level DEBUG, for those who listen.

    logging.getLogger("snapshot.memo.ops").setLevel(logging.DEBUG)

Events: `hit`, `miss`, `evict`, `cascading_delete`, `index_read`. Each has the `name` of the
function, or of the store that was read. The `key` of a call has five parts: the state of the
system, the name of the function, its state, its arguments and their versions; `obj_key` is what
they come to together, by which the result is kept.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging

LOGGER = "snapshot.memo.ops"


_known: list[logging.Logger] = []
_DEBUG = 10  # logging.DEBUG


def logger() -> logging.Logger | None:
    """The log, if anybody listens: who has not imported `logging` does not."""
    if not _known:
        if "logging" not in sys.modules:
            return None
        _known.append(sys.modules["logging"].getLogger(LOGGER))
    return _known[0] if _known[0].isEnabledFor(_DEBUG) else None


def tell(event: str, **more: Any) -> None:
    """Log an event."""
    if (log := logger()) is not None:
        log.debug("%s", json.dumps({"event": event, **more}, default=str))
