"""Results that hold for some time."""

from __future__ import annotations

import datetime
import time

from snapshot.errors import UsageError


class TTLInterval:
    """A function of the time alone, whose value changes once in an interval.

    As `extra_function_state` or `extra_system_state` it limits how long results are used again:

    >>> every_minute = TTLInterval(datetime.timedelta(minutes=1))
    >>> every_minute() <= every_minute()
    True

    Intervals are counted from 1970 on, so that all processes are in the same one, whenever they
    were started. What is computed late in an interval is therefore used for less time than an
    interval, and never for more.
    """

    def __init__(self, interval: datetime.timedelta | float) -> None:
        """interval: its length; a number is seconds. Raises `UsageError` unless that is a finite
        one, and at least a microsecond."""
        try:
            if not isinstance(interval, datetime.timedelta):
                interval = datetime.timedelta(seconds=interval)
        except (TypeError, ValueError, OverflowError):  # of what is no number, nan, and infinity
            raise UsageError(f"{interval!r} is no interval: {_WANTED}") from None
        if interval <= datetime.timedelta(0):
            raise UsageError(f"an interval of {interval} does not pass: {_WANTED}")
        self.interval = interval

    def __call__(self) -> int:
        """The number of the interval that it is now."""
        return time.time_ns() // (self.interval // datetime.timedelta(microseconds=1) * 1000)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.interval!r})"


_WANTED = "give a datetime.timedelta, or a number of seconds, above zero"
