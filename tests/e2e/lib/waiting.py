"""Waiting for events, with a deadline, and saying what was missing when it passes."""
import threading
import time

#: Seconds that anything may take on a busy two-core machine before a test gives up.
PATIENCE = 20.0


class Timeout(AssertionError):
    """What was awaited did not come in time."""


class Signal:
    """A condition variable that knows deadlines: `changed()` wakes everybody in `wait()`."""

    def __init__(self):
        self._condition = threading.Condition()

    def __enter__(self):
        return self._condition.__enter__()

    def __exit__(self, *exc):
        return self._condition.__exit__(*exc)

    def changed(self):
        with self._condition:
            self._condition.notify_all()

    def wait(self, predicate, timeout=PATIENCE, what="event", describe=None):
        """The first true value of `predicate()`, which is asked again whenever something changed."""
        until = time.monotonic() + timeout
        with self._condition:
            while True:
                value = predicate()
                if value:
                    return value
                left = until - time.monotonic()
                if left <= 0:
                    detail = f"\n{describe()}" if describe else ""
                    raise Timeout(f"no {what} within {timeout:g} s{detail}")
                self._condition.wait(left)


def poll(probe, timeout=PATIENCE, what="condition", every=0.02):
    """The first true value of `probe()`: for the few things that nobody announces (a file, /proc, a figure of /metrics)."""
    until = time.monotonic() + timeout
    pause = threading.Event()
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() >= until:
            raise Timeout(f"no {what} within {timeout:g} s (last: {value!r})")
        pause.wait(every)
