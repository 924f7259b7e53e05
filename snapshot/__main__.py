"""`python -m snapshot` is the command `snapshot`."""

import sys

from snapshot.commands import main

sys.exit(main())
