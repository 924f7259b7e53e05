"""Futures of the time machine: branches in the background, as `concurrent.futures` has them.

What is awaited is found out when somebody asks, or when the prompt shows news: no thread is needed,
except while `concurrent.futures.wait` or `as_completed` waits.
"""

from __future__ import annotations

import ast
import select
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import CodeType
from typing import Any, TypeVar

from snapshot.core.descriptors import close
from snapshot.core.timeline.member import Member
from snapshot.core.timeline.tasks import Task
from snapshot.errors import ForkError, ForkExited, ForkKilled

_T = TypeVar("_T")


class BranchFuture(Future[Any]):
    """A function or source that runs in a fork of this process.

    state: its number; when it is done, that of the state which it leaves behind.
    """

    def __init__(self, member: Member, state: int, ended: int) -> None:
        """Takes the descriptor `ended` over, which is closed at the other end when it is done."""
        super().__init__()
        self._member = member
        self.state = state
        self._ended = ended
        self._waiters: Any = _Waiters(self)

    def __repr__(self) -> str:
        task = self._task()
        return f"<future {self.state}: {task.line}: {task.status}>"

    def __del__(self) -> None:
        close(self._ended)

    @property
    def output(self) -> str:
        """All that it has written to its standard output and error so far."""
        _, data = self._member.request("output", future=self.state)
        return str(data.decode(errors="replace"))

    def cancel(self) -> bool:
        """End it at once, with what it has started; whether it still ran."""
        if super().done() or not self._member.request("cancel", future=self.state):
            return False
        self._settle(self._member.wait("await", None, future=self.state))
        return True

    def cancelled(self) -> bool:
        return super().cancelled() or self._task().status == "cancelled"

    def running(self) -> bool:
        return self._task().status == "running"

    def done(self) -> bool:
        return super().done() or not self.running()

    def result(self, timeout: float | None = None) -> Any:
        self._wait(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._wait(timeout)
        return super().exception(0)

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        """Call it when it is known that this is done: now, at the next prompt, or when asked."""
        super().add_done_callback(fn)
        if not super().done() and not self.running():
            self._settle(self._task())

    def notice(self, task: Task) -> None:
        """It has ended, as the prompt has learned."""
        callbacks: list[Any] = getattr(self, "_done_callbacks")  # noqa: B009 (not in its types)
        if callbacks:
            self._settle(task)

    def _task(self) -> Task:
        task: Task = self._member.request("task", future=self.state)
        return task

    def _wait(self, timeout: float | None) -> None:
        if not super().done():
            task = self._member.wait("await", timeout, future=self.state)
            if task is None:
                raise TimeoutError(f"future {self.state} still runs after {timeout} s")
            self._settle(task)

    def _settle(self, task: Task) -> None:
        """Set what came of it, and call what waits for that."""
        if super().done():
            return
        if task.status == "cancelled":
            super().cancel()
        elif task.status in ("killed", "exited"):
            self.set_exception(_died(task))
        else:
            try:
                value = self._member.ask(self.state, "answer")
            except Exception as error:
                self.set_exception(error)
            else:
                self.set_result(value)


class _Waiters(list[Any]):
    """Those that wait for several futures at once; a thread tells them while there are any."""

    def __init__(self, future: BranchFuture) -> None:
        super().__init__()
        self._future = future

    def append(self, waiter: Any) -> None:
        super().append(waiter)
        thread = threading.Thread(target=self._tell, name="snapshot-future", daemon=True)
        thread.start()

    def _tell(self) -> None:
        future = self._future
        poll = select.poll()
        poll.register(future._ended, 0)
        poll.poll()
        for waiter in list(self):
            waiter.add_result(future)


def _died(task: Task) -> ForkError:
    how = task.how
    what = f"future {task.number} ({task.line}) {how}"
    if how is not None and how.signal is not None:
        error: ForkError = ForkKilled(what)
        error.__dict__["signal"] = how.signal
    else:
        error = ForkExited(what)
        error.__dict__["code"] = how.code if how is not None else None
    return error


def evaluation(source: str, namespace: dict[str, Any]) -> Callable[[], Any]:
    """What runs source in these globals; its value is that of its last expression.

    Raises `SyntaxError`.
    """
    module = ast.parse(source, "<future>")
    last: CodeType | None = None
    if module.body and isinstance(module.body[-1], ast.Expr):
        final = module.body.pop()
        assert isinstance(final, ast.Expr)
        last = compile(ast.Expression(final.value), "<future>", "eval")
    first = compile(module, "<future>", "exec")

    def evaluate() -> Any:
        exec(first, namespace)
        return None if last is None else eval(last, namespace)

    return evaluate
