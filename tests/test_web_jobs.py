"""Jobs of the explorer: processes of their own, and which of them are remembered."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from snapshot.web import jobs
from snapshot.web.jobs import Job, Jobs


@pytest.fixture
def several() -> Iterator[Jobs]:
    """Those of a server, which ends."""
    found = Jobs()
    yield found
    found.close()


def ended(several: Jobs) -> Job:
    """One for which there is no call."""
    job = several.start("nothing", "reanimate", {"id": 1}, template="", back="/")
    deadline = time.monotonic() + 30
    while job.status == "running":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return job


def test_the_last_ones_are_remembered(several: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "KEPT", 4)
    made = [ended(several) for _ in range(6)]
    assert {each.status for each in made} == {"failed"}
    assert [several.get(each.id) for each in made[:2]] == [None, None]
    assert [several.get(each.id) for each in made[2:]] == made[2:]


def test_few_are_all_remembered(several: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "KEPT", 4)
    made = [ended(several) for _ in range(3)]
    assert [several.get(each.id) for each in made] == made


def test_one_that_cannot_be_started(several: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_COMMAND", ["/nowhere/at-all"])
    assert ended(several).error == "no process could be started: No such file or directory"


def test_one_that_is_ended_at_once(several: Jobs) -> None:
    job = several.start("nothing", "reanimate", {"id": 1}, template="", back="/")
    several.end(job)
    several.close()
    assert job.status == "ended"
    assert job.took is not None
