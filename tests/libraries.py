"""Libraries that the extra `test` installs on one Python alone."""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest

ONE_PYTHON = (3, 12)  # as the markers in setup.cfg say
DEAR = {"torch", "pyarrow", "xarray"}  # which no extra installs: much, for a test each


def require(*modules: str) -> None:
    """Skip the test where one of them is missing; fail it in CI, on the Python that has them."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if not missing:
        return
    reason = f"not installed: {', '.join(missing)}"
    if (
        not DEAR.issuperset(missing)
        and os.environ.get("CI") == "true"
        and sys.version_info[:2] == ONE_PYTHON
    ):
        pytest.fail(reason)
    pytest.skip(reason)
