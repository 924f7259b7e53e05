"""`python -m snapshot.repl` is `snapshot-repl`."""

from __future__ import annotations

import sys

from snapshot.commands.repl import entry_point

if __name__ == "__main__":
    sys.exit(entry_point())
