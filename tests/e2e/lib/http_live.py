"""HTTP clients that take a stream without an end, and keep account of each packet; and an HTTP server that does as it is told."""
import http.server
import threading
import time

from . import flv, net
from .live import Entry, role_of
from .reactor import REACTOR
from .waiting import PATIENCE, Signal, Timeout


class HttpViewer:
    """One request on a connection of its own. `status` and `headers` (names in lower case) when it returns; what comes then is kept
    in `data`, on the reactor's thread. `closed`: why it ended, or None. `prefix`: bytes sent before it."""

    def __init__(self, address, target, method="GET", headers=(), host=None, read=True, wait=True, receive_buffer=None, prefix=b""):
        self.signal = Signal()
        self.data, self.closed = bytearray(), None
        self.status, self.headers = None, {}
        self._head = bytearray()
        self.sock = net.connect(address, receive_buffer=receive_buffer)
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host or address}", *[f"{n}: {v}" for n, v in headers], "", ""]
        self.sock.sendall(prefix + "\r\n".join(lines).encode())
        self._reading = read
        if read:
            self.sock.setblocking(False)
            REACTOR.add(self.sock, self._on_readable)
            if wait:
                self.wait(lambda: self.status is not None or self.closed, what=f"answer to {method} {target}")

    def _on_readable(self):
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return True
        except OSError as error:
            return self._end(f"recv: {error.strerror}")
        if not data:
            return self._end("closed by the peer")
        try:
            self._take(data)
        except (AssertionError, ValueError, IndexError) as error:
            return self._end(f"what came is no {type(self).__name__}'s: {error}")
        self.signal.changed()
        return True

    def _take(self, data):
        with self.signal:
            if self.status is None:
                self._head += data
                head, mark, data = bytes(self._head).partition(b"\r\n\r\n")
                if mark:
                    first, *rest = head.decode("latin-1").split("\r\n")
                    self.headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in rest)}
                    self.status = int(first.split(" ")[1])
            if self.status is not None:
                self.take(data)

    def _end(self, reason):
        with self.signal:
            self.closed = self.closed or reason
        self.signal.changed()
        return False

    def take(self, data):
        self.data += data

    def wait(self, predicate, timeout=PATIENCE, what="data"):
        def look():
            value = predicate()
            if not value and self.closed:
                raise Timeout(f"no {what}: the connection was {self.closed}")
            return value
        return self.signal.wait(look, timeout, what)

    def await_close(self, timeout=PATIENCE):
        self.signal.wait(lambda: self.closed, timeout, "end of the answer")
        return bytes(self.data)

    def await_body(self):
        """Of an answer that says its length."""
        size = int(self.headers["content-length"])
        self.wait(lambda: len(self.data) >= size, what="the body")
        return bytes(self.data)

    def close(self):
        if self._reading:
            REACTOR.remove(self.sock)
        self.sock.close()
        self.closed = self.closed or "closed by us"


class FlvViewer(HttpViewer):
    """Of HTTP-FLV: `seen` are Entries, as of lib.live.Auditor; `tags` too, if asked for."""

    def __init__(self, address, target, keep_tags=False, **options):
        self.seen, self.tags, self.flags = [], [] if keep_tags else None, None
        self.name = target
        self._digests = set()
        super().__init__(address, target, **options)

    def take(self, data):
        self.data += data
        if self.status != 200:
            return
        at = 0
        if self.flags is None:
            if len(self.data) < 13:
                return
            assert self.data[:4] == b"FLV\1" and self.data[5:13] == b"\0\0\0\x09\0\0\0\0", bytes(self.data[:13])
            self.flags, at = self.data[4], 13
        while at + 11 <= len(self.data):
            size = int.from_bytes(self.data[at + 1:at + 4], "big")
            if at + 15 + size > len(self.data):
                break
            kind = self.data[at]
            timestamp = int.from_bytes(self.data[at + 4:at + 7], "big") | self.data[at + 7] << 24
            assert self.data[at + 8:at + 11] == b"\0\0\0", "stream id of a tag"
            payload = bytes(self.data[at + 11:at + 11 + size])
            assert int.from_bytes(self.data[at + 11 + size:at + 15 + size], "big") == size + 11, "size of the tag before"
            entry = Entry(kind, timestamp, flv.digest(payload), role_of(kind, payload), time.monotonic())
            self.seen.append(entry)
            self._digests.add(entry.digest)
            if self.tags is not None:
                self.tags.append(flv.Tag(kind, timestamp, payload))
            at += 15 + size
        del self.data[:at]

    def await_seen(self, entry, timeout=PATIENCE):
        self.wait(lambda: entry.digest in self._digests, timeout, f"the payload of {entry} by {self.name}")

    def await_count(self, count, timeout=PATIENCE):
        self.wait(lambda: len(self.seen) >= count, timeout, f"{count} tags by {self.name}")


class TsViewer(HttpViewer):
    """Of HTTP-TS: bytes, as they come."""

    def await_bytes(self, count, timeout=PATIENCE):
        self.wait(lambda: len(self.data) >= count, timeout, f"{count} bytes")

    def await_contains(self, mark, timeout=PATIENCE):
        """`mark`: bytes in a payload that lie within one packet."""
        self.wait(lambda: mark in self.data, timeout, f"{mark!r}")


class HttpOrigin:
    """A server whose answers a test decides: `answer(handler)` is called on the request's thread. `requests`: (method, target, headers)
    of each, with the names in lower case; `handler.body` is what came with it; `gone`: how many clients were seen to hang up."""

    def __init__(self):
        outer = self
        self.signal = Signal()
        self.requests, self.gone = [], 0
        self.answer = lambda handler: handler.reply(404, b"nothing here")

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self, status, body=b"", headers=(), length=True):
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                if length:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def chunk(self, data):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

            def await_gone(self):
                """Until the client hangs up."""
                self.connection.settimeout(PATIENCE)
                try:
                    while self.connection.recv(1000):
                        pass
                except ConnectionError:
                    pass
                with outer.signal:
                    outer.gone += 1
                outer.signal.changed()
                self.close_connection = True

            def do_GET(self):
                self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with outer.signal:
                    outer.requests.append((self.command, self.path, {n.lower(): v for n, v in self.headers.items()}))
                outer.signal.changed()
                outer.answer(self)

            do_HEAD = do_POST = do_DELETE = do_PATCH = do_GET

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, block_on_close = True, False

            def handle_error(self, *_):
                pass  # a client that has gone

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def await_requests(self, count):
        self.signal.wait(lambda: len(self.requests) >= count, what=f"{count} requests at the HTTP origin")
        return self.requests[count - 1]

    def await_gone(self, count=1):
        self.signal.wait(lambda: self.gone >= count, what="the end of a request at the HTTP origin")

    def close(self):
        self._server.shutdown()
        self._server.server_close()
