"""One thread that reads all the background connections of the test process."""
import os
import selectors
import threading


class Reactor:
    def __init__(self):
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._tasks = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, sock, on_readable):
        """Calls `on_readable()` on this thread whenever there is something to read, until it returns false."""
        self._post(lambda: self._selector.register(sock, selectors.EVENT_READ, on_readable))

    def remove(self, sock):
        """No call for `sock` is under way or comes any more when this returns."""
        if threading.current_thread() is self._thread:
            self._forget(sock)
            return
        done = threading.Event()

        def task():
            self._forget(sock)
            done.set()
        self._post(task)
        done.wait()

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
            for key, _ in self._selector.select():
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


REACTOR = Reactor()
