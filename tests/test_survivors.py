"""What an experiment has started and left."""

from __future__ import annotations

from collections.abc import Callable

from tests.processes import Result


def test_an_orphan_with_the_number_of_one_that_ended_is_found(
    python: Callable[..., Result],
) -> None:
    result = python(
        """
        import subprocess, psutil
        from unittest.mock import patch
        from snapshot.core import survivors

        moment = survivors.now()
        line = "sleep 1000 > /dev/null 2>&1 & echo $!"
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
        with patch.object(psutil.Process, "_get_ident", lambda each: (each.pid, 1.0)):
            list(psutil.process_iter())  # it remembers who had these numbers before
        found = survivors.orphans_since(moment)
        assert (int(done.stdout), "sleep") in found, found
        """,
        via_shell=True,  # an orphan that its own parent has adopted would be its brother
    )
    assert result.code == 0, result
