"""One thread that reads all the background connections of the test process, and keeps their timers."""
import heapq
import itertools
import os
import selectors
import threading
import time


class Reactor:
    def __init__(self):
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._tasks = []
        self._timers = []  # a heap of (when, number, callback)
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, sock, on_readable):
        """Calls `on_readable()` on this thread whenever there is something to read, until it returns false."""
        self._post(lambda: self._selector.register(sock, selectors.EVENT_READ, on_readable))

    def remove(self, sock):
        """No call for `sock` is under way or comes any more when this returns."""
        self.call(lambda: self._forget(sock))

    def call(self, task):
        """Runs `task()` on this thread, between two events, and waits for its end."""
        if threading.current_thread() is self._thread:
            task()
            return
        done, failed = threading.Event(), []

        def work():
            try:
                task()
            except BaseException as error:  # noqa: BLE001 - it is the caller's, and this thread has others to serve
                failed.append(error)
            finally:
                done.set()
        self._post(work)
        done.wait()
        if failed:
            raise failed[0]

    def at(self, when, callback):
        """Calls `callback()` on this thread at `when` (time.monotonic()), or soon after. Cannot be cancelled."""
        if threading.current_thread() is self._thread:
            heapq.heappush(self._timers, (when, next(self._numbers), callback))
        else:
            self._post(lambda: heapq.heappush(self._timers, (when, next(self._numbers), callback)))

    def _forget(self, sock):
        try:
            self._selector.unregister(sock)
        except (KeyError, ValueError):
            pass

    def _post(self, task):
        with self._lock:
            self._tasks.append(task)
        os.write(self._wake_write, b"x")

    def _run(self):
        while True:
            pause = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            for key, _ in self._selector.select(pause):
                if key.data is None:
                    try:
                        os.read(self._wake_read, 4096)
                    except BlockingIOError:
                        pass
                elif not key.data():
                    self._forget(key.fileobj)
            with self._lock:
                tasks, self._tasks = self._tasks, []
            for task in tasks:
                task()
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()


REACTOR = Reactor()
