"""An RTMP client for tests: it records every message it gets, and sends whatever it is told to, valid or not."""
import socket
import struct
import threading
import time

from . import amf0, net, rtmp_wire as wire
from .flv import Packet
from .reactor import REACTOR
from .waiting import PATIENCE, Signal, Timeout


class Refused(Exception):
    """The server said no: `code` and `description` of its onStatus or _error."""

    def __init__(self, info):
        info = info if isinstance(info, dict) else {}
        self.code, self.description = info.get("code", ""), info.get("description", "")
        super().__init__(f"{self.code}: {self.description}")


class Closed(Exception):
    """The server closed the connection."""


class Connection:
    """One TCP connection with an RTMP server.

    The caller's thread reads while it waits; after `background()` the reactor's thread reads all the time.
    """

    def __init__(self, address, source=None, prefix=b"", digest=None, receive_buffer=None, acknowledge=True,
                 answer_pings=True, handshake=True, timeout=PATIENCE):
        self.signal = Signal()
        self.messages = []
        self.closed = None          # why, once the connection has ended
        self.received = 0
        self.chunk_out = 128
        self.pings = 0
        self.timeout = timeout
        self._acknowledge, self._answer_pings = acknowledge, answer_pings
        self._window = self._acknowledged = 0
        self._transaction = 0
        self._background = False
        self._sending = threading.Lock()
        self._reader = wire.ChunkReader()
        self.sock = net.connect(address, source=source, receive_buffer=receive_buffer, timeout=timeout)
        if prefix:
            self.sock.sendall(prefix)
        if handshake:
            try:
                self._handshake(digest)
            except BaseException:
                self.sock.close()
                raise

    # -- bytes ---------------------------------------------------------------------------------------------------

    def _read_exactly(self, size):
        out = bytearray()
        while len(out) < size:
            got = self.sock.recv(size - len(out))
            if not got:
                raise Closed(f"closed in the handshake after {len(out)} of {size} bytes")
            out += got
        return bytes(out)

    def _handshake(self, digest):
        """`digest`: None for the simple form, else the scheme (0 or 1)."""
        mark = None
        if digest is None:
            first = wire.simple_c0c1()
        else:
            first, mark = wire.digest_c0c1(digest)
        self.sock.sendall(first)
        answer = self._read_exactly(1 + 2 * wire.HANDSHAKE_SIZE)
        s1, s2 = answer[1:1 + wire.HANDSHAKE_SIZE], answer[1 + wire.HANDSHAKE_SIZE:]
        if answer[0] != 3:
            raise wire.ChunkError(f"S0 is {answer[0]}")
        if digest is None:
            if s2[8:] != first[9:]:
                raise wire.ChunkError("S2 does not echo C1")
            self.sock.sendall(s1)
        else:
            self.sock.sendall(wire.check_digest_s1s2(s1, s2, mark))

    def send_raw(self, data):
        with self._sending:
            self.sock.sendall(data)

    def send(self, type, payload, timestamp=0, stream_id=0, csid=3):
        self.send_raw(wire.chunks(type, timestamp & 0xFFFFFFFF, stream_id, csid, payload, self.chunk_out))

    def set_chunk_size(self, size):
        self.send(wire.SET_CHUNK_SIZE, struct.pack(">I", size), csid=2)
        self.chunk_out = size

    def background(self):
        """Reads from now on by itself, on the reactor's thread."""
        if not self._background and self.closed is None:
            self._background = True
            REACTOR.add(self.sock, self._receive)
        return self

    def foreground(self):
        """Stops reading; the peer's data piles up from here (a stalled viewer)."""
        if self._background:
            REACTOR.remove(self.sock)
            self._background = False
        return self

    def _receive(self):
        try:
            data = self.sock.recv(262144)
        except TimeoutError:
            return True
        except OSError as error:
            return self._end(f"reset ({error.strerror})")
        if not data:
            return self._end("closed")
        try:
            messages = self._reader.feed(data)
        except wire.ChunkError as error:
            return self._end(f"bad chunk: {error}")
        with self.signal:
            self.received += len(data)
            for message in messages:
                self._take(message)
        self.signal.changed()
        return True

    def _end(self, why):
        with self.signal:
            self.closed = why
        self.signal.changed()
        return False

    def _take(self, message):
        self.messages.append(message)
        if message.type == wire.WINDOW_ACK:
            self._window = int.from_bytes(message.payload[:4], "big")
        elif message.type == wire.USER_CONTROL and message.payload[:2] == b"\0\x06":
            self.pings += 1
            if self._answer_pings:
                self._reply(wire.USER_CONTROL, b"\0\x07" + message.payload[2:])
        if self._acknowledge and self._window and self.received - self._acknowledged >= self._window // 2:
            self._acknowledged = self.received
            self._reply(wire.ACK, struct.pack(">I", self.received & 0xFFFFFFFF))

    def _reply(self, type, payload):
        try:
            self.send(type, payload, csid=2)
        except OSError:
            pass  # the reader notices by itself

    def wait(self, predicate, timeout=None, what="message", allow_closed=False):
        """The first true value of `predicate()`; raises Closed if the connection ends first."""
        timeout = self.timeout if timeout is None else timeout

        def ask():
            value = predicate()
            if not value and self.closed is not None and not allow_closed:
                raise Closed(f"{self.closed} while waiting for {what}; last messages: {self.messages[-5:]}")
            return value

        if self._background:
            return self.signal.wait(ask, timeout, what, lambda: f"last messages: {self.messages[-5:]}")
        until = time.monotonic() + timeout
        while True:
            value = ask()
            if value:
                return value
            left = until - time.monotonic()
            if left <= 0:
                raise Timeout(f"no {what} within {timeout:g} s; last messages: {self.messages[-5:]}")
            if self.closed is None:
                self.sock.settimeout(left)
                self._receive()
                self.sock.settimeout(self.timeout)

    def await_close(self, timeout=None):
        """Why the server ended the connection, when it did."""
        self.wait(lambda: self.closed is not None, timeout, "close by the server", allow_closed=True)
        return self.closed

    def close(self):
        self.foreground()
        try:
            self.sock.close()
        except OSError:
            pass
        if self.closed is None:
            self._end("closed by us")

    def reset(self):
        """Closes with a RST, as a network that drops a client does."""
        self.foreground()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    # -- commands ------------------------------------------------------------------------------------------------

    def command(self, name, transaction, *arguments, stream_id=0, csid=3):
        self.send(wire.COMMAND, amf0.encode(name, transaction, *arguments), stream_id=stream_id, csid=csid)

    def commands(self, name=None, since=0):
        """Decoded commands got so far: [name, transaction, object, arguments…]."""
        decoded = [amf0.decode(m.payload[1:] if m.type == wire.COMMAND_AMF3 else m.payload)
                   for m in list(self.messages[since:]) if m.type in (wire.COMMAND, wire.COMMAND_AMF3)]
        return [c for c in decoded if name is None or c[0] == name]

    def statuses(self, since=0):
        return [c[3] for c in self.commands("onStatus", since) if len(c) > 3 and isinstance(c[3], dict)]

    def await_status(self, *codes, since=0, timeout=None):
        """The first onStatus with one of `codes`; any other of level error raises Refused."""
        def found():
            for info in self.statuses(since):
                if info.get("code") in codes:
                    return info
                if info.get("level") == "error":
                    raise Refused(info)
            return None
        return self.wait(found, timeout, f"onStatus {' or '.join(codes)}")

    def call(self, name, *arguments, timeout=None):
        """Calls and awaits the `_result`: [properties or null, information, …]."""
        self._transaction += 1
        number = self._transaction
        self.command(name, number, *arguments)

        def answered():
            return next((c for c in self.commands() if c[0] in ("_result", "_error") and c[1] == number), None)
        answer = self.wait(answered, timeout, f"answer to {name}")
        if answer[0] == "_error":
            raise Refused(answer[3] if len(answer) > 3 else {})
        return answer[2:]

    def connect(self, app, tc_url=None, arguments=(), timeout=None, **members):
        """NetConnection.connect; (properties, information)."""
        host, port = self.sock.getpeername()[:2]
        self.tc_url = tc_url or f"rtmp://{f'[{host}]' if ':' in host else host}:{port}/{app}"
        properties = {"app": app, "type": "nonprivate", "flashVer": "FMLE/3.0 (compatible; sluice-e2e)", "tcUrl": self.tc_url}
        properties.update(members)
        properties, information = (self.call("connect", properties, *arguments, timeout=timeout) + [None])[:2]
        return properties, information

    def create_stream(self):
        return int(self.call("createStream", None)[1])

    def publish(self, name, kind="live", timeout=None, fmle=True):
        """Everything from releaseStream to NetStream.Publish.Start; the message stream's id."""
        since = len(self.messages)
        if fmle:
            self._transaction += 2
            self.command("releaseStream", self._transaction - 1, None, name)
            self.command("FCPublish", self._transaction, None, name)
        stream = self.create_stream()
        self.command("publish", 0, None, name, kind, stream_id=stream)
        self.await_status("NetStream.Publish.Start", since=since, timeout=timeout)
        return stream

    def start_play(self, name, start=-2):
        """createStream and play, without waiting for the answer."""
        stream = self.create_stream()
        self.command("play", 0, None, name, start, stream_id=stream)
        return stream

    def play(self, name, start=-2, timeout=None):
        since = len(self.messages)
        stream = self.start_play(name, start)
        self.await_status("NetStream.Play.Start", since=since, timeout=timeout)
        return stream

    # -- what was recorded ---------------------------------------------------------------------------------------

    def media(self, *types):
        """Messages that carry media (or of `types`), in order."""
        types = types or (wire.AUDIO, wire.VIDEO)
        return [m for m in list(self.messages) if m.type in types]

    def packets(self, *types):
        return [Packet(m.type, m.timestamp, m.digest) for m in self.media(*types)]

    def data(self, name=None):
        """Decoded data messages (onMetaData …)."""
        decoded = [amf0.decode(m.payload) for m in self.media(wire.DATA)]
        return [d for d in decoded if name is None or d[0] == name]

    def await_packet(self, packet, timeout=None):
        """Waits until that very packet (type, timestamp, digest) came."""
        kind, timestamp, mark = packet
        seen = [0]

        def found():
            messages = self.messages
            while seen[0] < len(messages):
                m = messages[seen[0]]
                seen[0] += 1
                if m.digest == mark and m.type == kind and m.timestamp == timestamp:
                    return True
            return False
        self.wait(found, timeout, f"packet {packet}")

    def await_media(self, count, timeout=None):
        self.wait(lambda: len(self.media()) >= count, timeout, f"{count} media messages")
