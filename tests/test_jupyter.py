"""Jupyter: the kernel "Python (snapshot)" and an ordinary one, as notebooks talk to them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_core.utils import ensure_event_loop

from snapshot.repl.kernel import spec
from tests.libraries import require
from tests.notebooks import Notebook, plain
from tests.processes import Program, Result, wait_gone
from tests.test_sessions import until

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


@pytest.fixture(scope="session")
def event_loop_of_the_client() -> Iterator[None]:
    """jupyter_client's one loop for all its calls, which it never closes."""
    loop = ensure_event_loop()
    yield
    loop.close()


@pytest.fixture
def notebook(event_loop_of_the_client: None, tmp_path: Path) -> Iterator[Notebook]:
    with Notebook(tmp_path) as opened:
        yield opened


@pytest.fixture
def ordinary(event_loop_of_the_client: None, tmp_path: Path) -> Iterator[Notebook]:
    with Notebook(tmp_path, "python3") as opened:
        yield opened


# The command.


def jupyter(directory: Path, *words: str) -> Result:
    """`snapshot jupyter` with these arguments."""
    command = str(Path(sys.executable).parent / "snapshot")
    with Program([command, "jupyter", *words], directory=directory) as program:
        return program.finish()


def test_the_kernel_is_installed_and_removed(tmp_path: Path) -> None:
    done = jupyter(tmp_path, "install", "--user")
    place = tmp_path / "home" / "data" / "jupyter" / "kernels" / "snapshot"
    assert done.stdout == f"installed {place}\n", done
    written = json.loads((place / "kernel.json").read_text())
    assert written["display_name"] == "Python (snapshot)"
    assert (written["argv"][0], written["interrupt_mode"]) == (sys.executable, "message")
    assert jupyter(tmp_path, "remove").stdout == f"removed {place}\n"
    assert not place.exists()
    assert "installed" in jupyter(tmp_path, "install", "--prefix", str(tmp_path / "here")).stdout
    assert (tmp_path / "here" / spec.BELOW / "snapshot").is_dir()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["remove"], "there is no kernel 'snapshot' to remove"),
        (["remove", "--user"], "remove takes no option: what Jupyter finds is removed"),
        (["install", "--prefix", "/dev/null"], "cannot write /dev/null"),
    ],
)
def test_a_mistake_is_a_line(tmp_path: Path, words: list[str], told: str) -> None:
    done = jupyter(tmp_path, *words)
    assert done.code == 2
    assert done.stderr.splitlines()[-1].startswith(f"snapshot jupyter: {told}"), done


# An ordinary kernel.


def test_a_snapshot_in_an_ordinary_kernel_says_what_to_do(ordinary: Notebook) -> None:
    cell = ordinary.run("from snapshot import snapshot\nsnapshot()")
    assert cell.error.startswith("CannotWait: snapshot(): the experiment would be without")
    assert '`%load_ext snapshot`, and in the kernel "Python (snapshot)"' in cell.error
    assert cell.error.endswith("; nothing was forked")
    assert len(ordinary.family()) == 1


def test_forks_of_an_ordinary_kernel_may_take_snapshots(ordinary: Notebook) -> None:
    ordinary.run(
        """
        from snapshot import fork_call, last_experiment, revert, snapshot
        def try_out():
            if snapshot():
                revert(value=7)
            return last_experiment().value
        """
    )
    assert ordinary.value("fork_call(try_out)") == "7"


@pytest.fixture
def extended(ordinary: Notebook) -> Notebook:
    """An ordinary kernel with something in its memory, and the extension. Two cells have run."""
    ordinary.run("import os, time\nx = 1\nkernel = os.getpid()")
    assert ordinary.run("%load_ext snapshot").ok
    return ordinary


def test_the_extension_says_what_there_is_now(ordinary: Notebook) -> None:
    ordinary.run(
        "import threading\nstop = threading.Event()\n"
        "threading.Thread(target=stop.wait, name='mine', daemon=True).start()"
    )
    cell = ordinary.run("%load_ext snapshot")
    told = (
        "snapshot: from the next cell on each leaves a state: past(n), present(), states(), tm; "
        f"they run in forks of process {ordinary.pid}, without the threads 'mine'\n"
    )
    assert (cell.ok, cell.stderr) == (True, told)
    assert ordinary.run("%load_ext snapshot").stderr == ""


def test_what_was_switched_off_is_not_loaded_again(ordinary: Notebook) -> None:
    ordinary.run("%load_ext snapshot")
    assert "the time machine is off" in ordinary.run("tm.unhook()").stderr
    assert "restart the kernel" in ordinary.run("%load_ext snapshot").stderr
    assert ordinary.run("6 * 7").value == "42"


def test_the_extension_takes_no_name_away(ordinary: Notebook) -> None:
    ordinary.run("keep = 'precious'; past = [1]")
    cell = ordinary.run("%load_ext snapshot")
    assert "not set, as you have your own: keep, past; ours: %past" in cell.stderr
    assert ordinary.value("keep, past") == "('precious', [1])"
    assert ordinary.run("%past 1").error.startswith("UnknownState")


def test_an_ordinary_kernel_travels(extended: Notebook) -> None:
    assert extended.value("x, os.getpid() == kernel") == "(1, False)"
    assert extended.run("x = 2").number == 4
    there = extended.run("%past 3")
    assert re.fullmatch(r"snapshot: at state 3, in process \d+\n", there.stderr), there
    assert extended.run("x").number == 6
    cell = extended.run("print('out', x)\ndisplay(x)\nx")
    assert (cell.stdout, cell.value) == ("out 1\n", "1")
    assert cell.data("display_data") == [{"text/plain": "1"}]
    assert extended.run("1 / 0").error == "ZeroDivisionError: division by zero"
    assert extended.run("import asyncio\nawait asyncio.sleep(0, 'slept')").value == "'slept'"
    extended.run("%present")
    assert extended.value("x") == "2"
    assert "<svg" in extended.run("states()").data("execute_result")[0]["text/html"]


def test_a_snapshot_works_after_the_extension(extended: Notebook) -> None:
    assert extended.value("from snapshot import revert, snapshot\nsnapshot()") == "True"
    extended.run("x = 2")
    assert extended.run("revert()").value == "False"
    assert extended.value("x") == "1"


def test_a_cell_of_an_ordinary_kernel_is_interrupted(extended: Notebook) -> None:
    for _ in range(2):
        cell = extended.run(LOOP, during=("asleep", extended.manager.interrupt_kernel))
        assert cell.reply["ename"] == "KeyboardInterrupt"
        extended.run("past(3)")
    assert extended.value("x") == "1"


def test_a_cell_of_an_ordinary_kernel_may_crash(extended: Notebook) -> None:
    extended.run("x = 2")
    cell = extended.run("import ctypes; ctypes.string_at(0)")
    assert cell.error.endswith("in cell 4, was killed by SIGSEGV: back at state 3")
    assert extended.value("x") == "2"
    assert extended.run("input()", ["typed"]).value == "'typed'"
    assert extended.ask("complete", "kern", 4)["matches"][0] == "kernel"


def test_an_ordinary_kernel_leaves_no_process(extended: Notebook) -> None:
    prepared(extended)
    extended.shut_down()


def test_an_ordinary_kernel_that_is_killed_leaves_no_process(extended: Notebook) -> None:
    prepared(extended)
    family = extended.family()
    os.kill(extended.pid, signal.SIGKILL)
    wait_gone(family, 2)


# The kernel of its own: cells.


def test_the_extension_has_nothing_to_add(notebook: Notebook) -> None:
    cell = notebook.run("%load_ext snapshot")
    assert (cell.ok, cell.stderr) == (True, "")


def test_cells_have_output_values_and_numbers(notebook: Notebook) -> None:
    cell = notebook.run("import sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7")
    assert (cell.number, cell.stdout, cell.stderr, cell.value) == (1, "out\n", "err\n", "42")
    assert notebook.run("Out[1] + _").value == "84"
    assert notebook.run("_i1").value is not None
    assert notebook.run("x = 1;").value is None


def test_output_comes_in_order_with_what_is_displayed(notebook: Notebook) -> None:
    cell = notebook.run("print('one'); display('two'); print('three')\n'four'")
    kinds = [kind for kind, _ in cell.published if kind not in ("status", "execute_input")]
    assert [*dict.fromkeys(kinds)] == ["stream", "display_data", "execute_result"]
    assert kinds.index("display_data") > kinds.index("stream")
    assert cell.stdout == "one\nthree\n"


def test_what_other_programs_write_is_the_output_of_the_cell(notebook: Notebook) -> None:
    cell = notebook.run(
        "import os, subprocess\nprint('before')\nos.write(1, b'bytes\\n')\n"
        "os.system('echo from a shell')\nsubprocess.run(['sh', '-c', 'echo wrong >&2'])\n"
        "!echo bang"
    )
    assert cell.stdout.split("\n")[:3] == ["before", "bytes", "from a shell"]
    assert "bang" in cell.stdout
    assert cell.stderr == "wrong\n"


def test_much_output_comes_through(notebook: Notebook) -> None:
    cell = notebook.run("for n in range(20_000): print(n, 'x' * 50)\nprint('é' * 100_000)")
    assert len(cell.stdout) == sum(len(f"{n} ") + 51 for n in range(20_000)) + 100_001


def test_errors_have_their_traceback(notebook: Notebook) -> None:
    cell = notebook.run("def outer():\n    return 1 / 0\nouter()")
    assert cell.error == "ZeroDivisionError: division by zero"
    assert "return 1 / 0" in plain("".join(cell.reply["traceback"]))
    assert notebook.run("%debug?").ok
    assert notebook.run("1 +").error.startswith("SyntaxError")


def test_a_queue_of_cells_is_given_up_after_an_error(notebook: Notebook) -> None:
    failing = notebook.client.execute("import time; time.sleep(0.1); 1 / 0")
    after = notebook.client.execute("1")
    assert notebook.reply(failing)["status"] == "error"
    assert notebook.reply(after)["status"] == "aborted"


def test_displays_are_updated_and_cleared(notebook: Notebook) -> None:
    cell = notebook.run(
        "from IPython.display import HTML, clear_output\n"
        "shown = display(HTML('<b>1</b>'), display_id=True)\n"
        "shown.update(HTML('<b>2</b>'))\nclear_output()"
    )
    assert [data["text/html"] for data in cell.data("display_data")] == ["<b>1</b>"]
    assert [data["text/html"] for data in cell.data("update_display_data")] == ["<b>2</b>"]
    assert "clear_output" in dict(cell.published)


def test_matplotlib_draws_inline(notebook: Notebook) -> None:
    require("matplotlib")
    cell = notebook.run("import matplotlib.pyplot as plt\nplt.plot([1, 2, 4]);\nplt.title('é')")
    (shown,) = cell.data("display_data")
    assert shown["image/png"].startswith("iVBOR")
    assert notebook.run("%matplotlib inline").ok
    assert notebook.run("past(1)").ok
    assert notebook.run("plt.plot([1, 2]);").data("display_data")


def test_what_is_asked_for_is_typed_in_the_notebook(notebook: Notebook) -> None:
    cell = notebook.run(
        "import getpass\n(input('name? '), getpass.getpass('word? '))", ["me", "secret"]
    )
    assert cell.value == "('me', 'secret')"
    asked = [content for kind, content in cell.published if kind == "input_request"]
    assert asked == [
        {"prompt": "name? ", "password": False},
        {"prompt": "word? ", "password": True},
    ]
    assert notebook.run("input()").error.startswith("StdinNotImplementedError")


def test_top_level_await_works(notebook: Notebook) -> None:
    cell = notebook.run("import asyncio\nawait asyncio.sleep(0, 'slept')")
    assert cell.value == "'slept'"
    notebook.run("past(1)")
    assert notebook.value("await asyncio.sleep(0, 'again')") == "'again'"


def test_code_is_completed_and_inspected(notebook: Notebook) -> None:
    notebook.run("value_of_mine = {'a': 1}\ndef explain():\n    '''What it does.'''")
    found = notebook.ask("complete", "value_of_", 9)
    assert found["matches"] == ["value_of_mine"]
    shown = notebook.ask("inspect", "explain")
    assert shown["found"]
    assert "What it does." in shown["data"]["text/plain"]
    assert notebook.ask("is_complete", "for x in y:")["status"] == "incomplete"
    assert notebook.ask("is_complete", "x = 1")["status"] == "complete"


def test_the_history_is_one_for_all_branches(notebook: Notebook) -> None:
    for code in ("a = 1", "past(1)", "b = 2"):
        notebook.run(code)
    lines = notebook.ask("history")["history"]
    assert [line[1:] for line in lines] == [[1, "a = 1"], [2, "past(1)"], [3, "b = 2"]]


def test_the_kernel_says_what_it_is(notebook: Notebook) -> None:
    info = notebook.ask("kernel_info")
    assert info["language_info"]["name"] == "python"
    assert info["supported_features"] == []
    assert notebook.ask("comm_info")["comms"] == {}


def test_widgets_talk_to_their_process(notebook: Notebook) -> None:
    cell = notebook.run(
        "import comm\nc = comm.create_comm(target_name='mine', data={'x': 1})\n"
        "c.on_msg(lambda message: print('told', message['content']['data']))"
    )
    opened = dict(cell.published)["comm_open"]
    assert notebook.ask("comm_info")["comms"] == {opened["comm_id"]: {"target_name": "mine"}}
    message = notebook.client.session.msg(
        "comm_msg", {"comm_id": opened["comm_id"], "data": {"y": 2}}
    )
    notebook.client.shell_channel.send(message)
    while (published := notebook.client.get_iopub_msg(timeout=30))["msg_type"] != "stream":
        continue
    assert published["content"]["text"] == "told {'y': 2}\n"


def test_widgets_and_a_cell_that_prints_do_not_wait_for_each_other(notebook: Notebook) -> None:
    count = 400
    cell = notebook.run(
        "import comm\nc = comm.create_comm(target_name='mine')\nheard = []\n"
        "c.on_msg(lambda message: (heard.append(1), print('x' * 1000)))"
    )
    opened = dict(cell.published)["comm_open"]

    def move_the_slider() -> None:
        for number in range(count):
            data = {"comm_id": opened["comm_id"], "data": {"n": number}}
            client.shell_channel.send(client.session.msg("comm_msg", data))

    client = notebook.client
    prints = "end = time.monotonic() + 3\nwhile time.monotonic() < end: print('y' * 60)"
    cell = notebook.run(f"import time\n{prints}", during=("y", move_the_slider))
    assert cell.ok
    assert notebook.value("len(heard)") == str(count)


def test_a_flood_of_output_comes_in_few_messages(notebook: Notebook) -> None:
    """A client has room for a thousand: what comes after them is lost, the cell's end with it."""
    count = 200_000
    cell = notebook.run(
        f"import sys\nfor number in range({count}): print(number)\nprint('end', file=sys.stderr)"
    )
    assert cell.stdout == "".join(f"{number}\n" for number in range(count))
    assert cell.stderr == "end\n"
    assert len([kind for kind, _ in cell.published if kind == "stream"]) < 500


def test_a_callback_of_a_widget_travels_and_is_interrupted(notebook: Notebook) -> None:
    cell = notebook.run(
        "import comm, time\nc = comm.create_comm(target_name='mine')\n"
        "c.on_msg(lambda message: eval(message['content']['data']['do']))\nheard = []"
    )
    comm = dict(cell.published)["comm_open"]["comm_id"]
    client = notebook.client

    def call_back(source: str) -> None:
        data = {"comm_id": comm, "data": {"do": source}}
        client.shell_channel.send(client.session.msg("comm_msg", data))

    call_back("heard.append(1)")
    call_back("past(1)")
    assert notebook.value("heard") == "[]"
    assert notebook.run("present()").ok
    assert notebook.value("heard") == "[1]"
    call_back("print('asleep') or [time.sleep(0.1) for _ in iter(int, 1)]")
    while "asleep" not in (shown := client.get_iopub_msg(timeout=30))["content"].get("text", ""):
        assert shown["msg_type"] != "error"
    notebook.manager.interrupt_kernel()
    assert notebook.value("1 + 1") == "2"


def test_all_that_is_asked_can_be_interrupted(notebook: Notebook) -> None:
    notebook.run(
        "import os, time\n%config IPCompleter.use_jedi = False\n"
        "def sleep(n):\n    os.write(1, b'%d sheep' % n)\n    while True: time.sleep(0.1)\n"
        "class Slow:\n    __dir__ = lambda self: sleep(1)\nslow = Slow()"
    )

    def interrupt(asleep: str) -> None:  # what no traceback shows of the source
        while asleep not in notebook.client.get_iopub_msg(timeout=30)["content"].get("text", ""):
            continue
        notebook.manager.interrupt_kernel()

    wanted = notebook.client.complete("slow.", 5)
    interrupt("1 sheep")
    notebook.reply(wanted)
    wanted = notebook.client.execute("pass", user_expressions={"asleep": "sleep(2)"})
    interrupt("2 sheep")
    found = notebook.reply(wanted)["user_expressions"]
    assert found["asleep"]["ename"] == "KeyboardInterrupt"
    assert notebook.value("1 + 1") == "2"


# Travelling.


def test_the_past_is_there_as_it_was(notebook: Notebook) -> None:
    notebook.run("import random; random.seed(1); x = [1]")
    notebook.run("x.append(random.random())")
    later = notebook.value("x")
    there = notebook.run("past(1)")
    assert there.ok
    assert there.stderr.startswith("snapshot: at state 1, in process")
    assert notebook.value("x") == "[1]"
    notebook.run("x.append(random.random())")
    assert notebook.value("x") == later
    assert notebook.run("%present").ok
    assert notebook.value("x") == later


def test_numbers_of_cells_go_on(notebook: Notebook) -> None:
    numbers = [
        notebook.run(code).number for code in ("x = 1", "1 / 0", "past(1)", "x", "present()", "x")
    ]
    assert numbers == [1, 2, 3, 4, 5, 6]


def test_the_rest_of_a_cell_runs_when_somebody_comes_back(notebook: Notebook) -> None:
    notebook.run("x = 1")
    there = notebook.run("x = 2\npast(1)\nprint('back', x)")
    assert there.stdout == ""
    assert notebook.value("x") == "1"
    assert notebook.run("present()").stdout == "back 2\n"


def test_there_is_no_such_state(notebook: Notebook) -> None:
    cell = notebook.run("past(99)")
    told = "UnknownState: there is no state 99 yet; the nearest is 0: before the first cell"
    assert cell.error == told
    assert cell.reply["traceback"] == [told]
    assert notebook.run("%past 98").error.startswith("UnknownState")
    assert "def f" in plain("".join(notebook.run("def f():\n past(97)\nf()").reply["traceback"]))


def test_the_variables_of_a_state_are_those_of_the_cells(notebook: Notebook) -> None:
    notebook.run("x = 1\nimport math\ndef f(): pass")
    notebook.run("x = 2")
    assert notebook.value("sorted(tm.vars(1))") == "['f', 'x']"
    assert notebook.value("tm.vars(1)['x'], tm.ans(3)") == "(1, ['f', 'x'])"


def test_a_snapshot_in_a_cell_works_as_anywhere(notebook: Notebook) -> None:
    notebook.run("x = 1")
    assert notebook.value("snapshot()") == "True"
    notebook.run("x = 2")
    back = notebook.run("revert()")
    assert back.value == "False"
    assert "snapshot: back at 0 (" in back.stderr
    assert notebook.value("x") == "1"


def test_a_cell_runs_again_from_the_state_before_it(notebook: Notebook) -> None:
    notebook.run("x = 1")
    notebook.run("x += 1; print('x is', x)")
    notebook.run("x = 100")
    assert notebook.run("tm.rerun(2)").stdout == "x is 2\n"
    assert notebook.value("x") == "2"


# Crashes, interrupts, ends.


@pytest.mark.parametrize(
    ("code", "how"),
    {
        "segfault": ("import ctypes; ctypes.string_at(0)", "was killed by SIGSEGV"),
        "exit": ("import os; os._exit(3)", "exited with code 3"),
        "kill": ("import os, signal; os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
    }.values(),
    ids=["segfault", "exit", "kill"],
)
def test_a_cell_that_crashes_costs_itself_alone(notebook: Notebook, code: str, how: str) -> None:
    notebook.run("x = 1")
    cell = notebook.run(f"x = 2; {code}")
    assert cell.error.startswith("ProcessEnded: process ")
    assert cell.error.endswith(f", in cell 2, {how}: back at state 1")
    assert notebook.value("x") == "1"
    assert notebook.run("%states").ok


def test_a_worker_that_is_killed_between_cells_is_replaced(notebook: Notebook) -> None:
    notebook.run("x = 1")
    pid = int(notebook.value("import os; os.getpid()"))
    os.kill(pid, signal.SIGKILL)
    wait_gone([pid])
    assert notebook.value("x") == "1"
    assert int(notebook.value("os.getpid()")) != pid


LOOP = "import time\nprint('asleep')\nwhile True: time.sleep(0.01)"


def test_an_interrupt_is_a_keyboard_interrupt_in_the_cell(notebook: Notebook) -> None:
    notebook.run("x = 1")
    for _ in range(3):
        cell = notebook.run(LOOP, during=("asleep", notebook.manager.interrupt_kernel))
        assert cell.reply["ename"] == "KeyboardInterrupt"
    os.kill(notebook.pid, signal.SIGINT)  # of nothing
    assert notebook.value("x") == "1"
    notebook.run("past(1)")
    cell = notebook.run(LOOP, during=("asleep", notebook.manager.interrupt_kernel))
    assert cell.reply["ename"] == "KeyboardInterrupt"
    notebook.run("present()")
    assert notebook.value("x") == "1"


def test_an_interrupt_reaches_programs_of_the_cell(notebook: Notebook) -> None:
    code = "import os\nos.system('echo asleep; exec sleep 1000')"
    cell = notebook.run(code, during=("asleep", notebook.manager.interrupt_kernel))
    assert cell.value == "2"  # as a status of waitpid(2): killed by SIGINT


def test_what_waits_for_typing_can_be_interrupted(notebook: Notebook) -> None:
    code = "print('asking')\ninput()"
    wanted = notebook.client.execute(code, allow_stdin=True, stop_on_error=False)
    assert notebook.client.get_stdin_msg(timeout=30)["msg_type"] == "input_request"
    notebook.manager.interrupt_kernel()
    assert notebook.reply(wanted)["ename"] == "KeyboardInterrupt"
    assert notebook.value("1 + 1") == "2"


def prepared(notebook: Notebook) -> None:
    """States, branches, a future that runs."""
    state = notebook.run("import time; x = 1").number
    notebook.run(f"past({state})")
    notebook.run("y = 2")
    notebook.run("future = tm.future(time.sleep, 1000)")


def test_shutting_down_leaves_no_process(notebook: Notebook) -> None:
    prepared(notebook)
    notebook.run("import atexit; atexit.register(lambda: open('ended', 'w').close())")
    notebook.shut_down()
    assert (notebook.directory / "ended").exists()


def test_shutting_down_a_cell_that_runs_leaves_no_process(notebook: Notebook) -> None:
    prepared(notebook)
    notebook.client.execute(LOOP)
    while notebook.client.get_iopub_msg(timeout=30)["msg_type"] != "stream":
        continue
    notebook.shut_down()


def test_restarting_leaves_no_process(notebook: Notebook) -> None:
    prepared(notebook)
    before = notebook.family()
    notebook.manager.restart_kernel()
    notebook.ready()
    wait_gone(before, 2)
    assert notebook.run("x").error == "NameError: name 'x' is not defined"
    assert notebook.run("1").number == 2


def test_a_broker_that_is_killed_leaves_no_process(notebook: Notebook) -> None:
    prepared(notebook)
    family = notebook.family()
    os.kill(notebook.pid, signal.SIGKILL)
    wait_gone(family, 2)


def test_exit_ends_the_kernel(notebook: Notebook) -> None:
    prepared(notebook)
    family = notebook.family()
    cell = notebook.run("exit()")
    assert [each["source"] for each in cell.reply["payload"]] == ["ask_exit"]
    wait_gone(family, 5)


# Futures, and the tree.


def test_the_end_of_a_future_is_told_where_it_is_wanted(notebook: Notebook) -> None:
    notebook.run("tm.notify_jupyter(True); tm.notify_terminal(False)")
    notebook.run("import os\nread, write = os.pipe()")
    assert notebook.run("%%future f\nprint('noise'); os.read(read, 1)\n6 * 7").ok
    ended = notebook.run("os.write(write, b'x'); f.result()")
    assert ended.value == "42"
    assert re.fullmatch(r"snapshot: future 4 done after .*: ans\(4\), past\(4\)\n", ended.stdout)
    assert notebook.value("f.output") == "'noise\\n'"
    assert "future 4" not in notebook.log


def test_a_future_that_ends_between_cells_is_told_below_the_last_one(notebook: Notebook) -> None:
    notebook.run("tm.notify_jupyter(True)")
    notebook.run("import os\nread, write = os.pipe()\nf = tm.future(os.read, read, 1)")
    told = notebook.run("os.write(write, b'x');").stdout
    while "future" not in told:
        told += notebook.client.get_iopub_msg(timeout=30)["content"].get("text", "")
    assert "snapshot: future 3 done" in told
    assert "snapshot: future 3 done" in notebook.log


def test_one_can_go_where_a_future_ended(notebook: Notebook) -> None:
    notebook.run("f = tm.future('y = 7')")
    notebook.run("f.result()")
    assert notebook.run("past(f.state)").ok
    assert notebook.value("y") == "7"


def test_the_tree_is_shown_as_a_picture(notebook: Notebook) -> None:
    notebook.run("x = '<script>alert(1)</script>'")
    notebook.run("1 / 0")
    notebook.run("past(1)")
    cell = notebook.run("states()")
    (data,) = cell.data("execute_result")
    assert "<- here" in data["text/plain"]
    shown = data["text/html"]
    assert "<svg" in shown
    assert "<script" not in shown
    assert "&lt;script" in shown
    assert "http" not in shown.replace("http://www.w3.org", "")


def test_a_failing_start_is_told(
    event_loop_of_the_client: None, tmp_path: Path, python: Callable[..., object]
) -> None:
    folder = tmp_path / "home" / ".ipython" / "profile_default" / "startup"
    folder.mkdir(parents=True)
    (folder / "first.py").write_text("started = 1\nprint('started')\nbroken")
    with Notebook(tmp_path) as notebook:
        assert notebook.value("started") == "1"
        assert "NameError" in notebook.log
        assert psutil.pid_exists(notebook.pid)


# The example.

EXAMPLE = Path(__file__).parent.parent / "examples" / "timeline.ipynb"


def code_cells(notebook: Path) -> dict[str, Any]:
    """By their ids, in their order."""
    cells = json.loads(notebook.read_text())["cells"]
    return {cell["id"]: cell for cell in cells if cell["cell_type"] == "code"}


def test_the_example_runs(notebook: Notebook) -> None:
    for name, cell in code_cells(EXAMPLE).items():
        done = notebook.run("".join(cell["source"]))
        assert done.ok is not ("raises-exception" in cell["metadata"].get("tags", ())), done
        assert done.value in (None, "True") or name == "tree", done
        assert done.value is not None or name in ("back", "crash", "present"), done


def test_nbclient_runs_the_example(tmp_path: Path) -> None:
    spec.install(prefix=str(tmp_path))
    shutil.copy(EXAMPLE, tmp_path)
    command = [*(sys.executable, "-m", "jupyter", "execute"), "--output=done", EXAMPLE.name]
    env = {"JUPYTER_PATH": str(tmp_path / "share" / "jupyter")}
    with Program(command, directory=tmp_path, env=env) as program:
        result = program.finish(90)
    assert result.code == 0, result
    outputs = {name: cell["outputs"] for name, cell in code_cells(tmp_path / "done.ipynb").items()}
    (tree,) = outputs["tree"]
    assert "<svg" in "".join(tree["data"]["text/html"])
    error = outputs["crash"][-1]
    assert (error["output_type"], error["ename"]) == ("error", "ProcessEnded")
    assert outputs["there"][-1]["data"]["text/plain"] == ["True"]


def sees(it: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks from outside sees the notebook."""
    it.run("seen = 5")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(it.directory / "home" / "runtime"))
    session = until(lambda now: now.states[-1].line == "seen = 5")
    assert session.kind == "jupyter"
    assert it.value("__import__('os').getppid()") == str(session.pid)


def test_who_looks_from_outside_sees_it(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    sees(notebook, monkeypatch)


def test_who_looks_from_outside_sees_the_extension(
    extended: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    sees(extended, monkeypatch)
