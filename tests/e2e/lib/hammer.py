"""A client who connects, asks one thing and leaves, again and again: does a listener ever refuse, reset or hang?"""
import threading
import time

from . import net
from .rtmp import Connection
from .waiting import poll


def rtmp_visit(address):
    """Handshake and connect."""
    connection = Connection(address, timeout=10)
    try:
        connection.connect("live")
    finally:
        connection.close()


def http_visit(address):
    """One request on a connection of its own, by hand: no library that would try again."""
    sock = net.connect(address, timeout=10)
    try:
        sock.sendall(b"GET /api/v1/versions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while data := sock.recv(4096):
            answer += data
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:100]
    finally:
        sock.close()


class Hammer:
    """`visit(address)` on a thread of its own, without a pause."""

    def __init__(self, visit, address):
        self.visit, self.address = visit, address
        self.done, self.failures = 0, []
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        began = time.monotonic()
        while not self._halt.is_set():
            try:
                self.visit(self.address)
                self.done += 1
            except Exception as error:  # whatever it is: that is what is looked for
                self.failures.append(f"visit {self.done} of {self.address}, {time.monotonic() - began:.3f} s: {error!r}")

    def await_more(self, count):
        target = self.done + count
        poll(lambda: self.done >= target or self.failures, timeout=60, what=f"{count} more visits of {self.address}")
        self.check()

    def check(self):
        assert not self.failures, f"{len(self.failures)} of {self.done} visits failed: {self.failures[:4]}"

    def close(self):
        self._halt.set()
        self._thread.join(20)
