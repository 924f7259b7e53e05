"""What pytest captures, seen from outside of a test: the terminal, and what a fork has left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def suspended(config: pytest.Config) -> Iterator[None]:
    """Standard input, output and error are what they were when pytest was started.

    For between two phases of a test, where standard input alone leads elsewhere.
    """
    capture = _of(config)
    if capture is None:
        yield
        return
    capture.suspend_global_capture(in_=True)
    try:
        yield
    finally:
        capture.resume_global_capture()
        capture.suspend_global_capture(in_=False)


def read(config: pytest.Config) -> tuple[str, str]:
    """What was captured by now, of standard output and of standard error; it is read once."""
    capture = _of(config)
    if capture is None:
        return "", ""
    out, err = capture.read_global_capture()
    return out, err


@contextmanager
def phase(item: pytest.Item, when: str) -> Iterator[None]:
    """What is written in the block is in the test's report, as of that phase."""
    capture = _of(item.config)
    if capture is None:
        yield
        return
    with capture.item_capture(when, item):
        yield


def _of(config: pytest.Config) -> Any:
    """The plugin that captures, which is there for `-s`, too; None if it was switched off."""
    return config.pluginmanager.getplugin("capturemanager")
