"""The matrix of `test_resources`, run and written into README.md: `python -m tests.matrix`.

Interpreters may be named after it, one of each version of Python; each needs the extra `test`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

from tests.test_resources import CASES, ENDINGS

DOCUMENT = Path(__file__).with_name("README.md")

TEXT = """\
# The matrix of resources

Made by `python -m tests.matrix`, on CPython {versions}.

For each thing, a program makes it, takes a snapshot inside the thing's own `with` block, and ends
the experiment in the way that heads the column: once without having used the thing there, and once
after using it. *ok*: both times the original then used it for real, and it was cleaned up once.
What is done is in [test_resources.py](test_resources.py).

{table}
"""


def main(interpreters: list[str]) -> int:
    """Run the matrix on each; the exit status is 1 if a cell is not ok."""
    passed = {version(each): passed_tests(each) for each in interpreters}
    rows = [[name, *(cell(name, each, passed) for each in ENDINGS)] for name in CASES]
    head = ["", *ENDINGS]
    table = "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])
    DOCUMENT.write_text(TEXT.format(versions=", ".join(passed), table=table))
    return int(any(each != "ok" for _, *cells in rows for each in cells))


def version(interpreter: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.check_output([interpreter, "-c", code], text=True).strip()


def passed_tests(interpreter: str) -> set[str]:
    """What stands in brackets in the names of the tests that passed."""
    tests = Path(__file__).with_name("test_resources.py")
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        command = [interpreter, "-m", "pytest", "-q", "-n", "auto", f"--junitxml={report}"]
        subprocess.run([*command, tests], check=False)
        cases = list(ElementTree.parse(report).iter("testcase"))
    return {case.attrib["name"].partition("[")[2].rstrip("]") for case in cases if not len(case)}


def cell(name: str, ending: str, passed: Mapping[str, set[str]]) -> str:
    failed = [version for version, tests in passed.items() if f"{name}-{ending}" not in tests]
    return f"not ok: {', '.join(failed)}" if failed else "ok"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:] or [sys.executable]))
