"""An RTMP origin of which a test decides what it says: it accepts, refuses, kicks, or falls silent; it always answers probes."""
import os
import socket
import struct
import threading

from . import amf0, rtmp_wire as wire
from .waiting import Signal


class Session:
    """One client of the fake, as far as it got."""

    def __init__(self, origin, sock):
        self.origin, self.sock = origin, sock
        self.kind = self.name = self.query = None
        self.object = {}            # connect's command object
        self.messages = []          # media and data that it sent
        self.commands = []
        self.ended = None
        self._sending = threading.Lock()

    def send(self, type, payload, timestamp=0, stream_id=0, csid=3):
        with self._sending:
            self.sock.sendall(wire.chunks(type, timestamp & 0xFFFFFFFF, stream_id, csid, payload, 128))

    def reply(self, *values, stream_id=0):
        self.send(wire.COMMAND, amf0.encode(*values), stream_id=stream_id)

    def status(self, code, level="status", description=""):
        self.reply("onStatus", 0, None, {"level": level, "code": code, "description": description}, stream_id=1)

    def put(self, tag):
        """To a player: one tag."""
        self.send(tag.type, tag.payload, tag.timestamp, 1, {wire.AUDIO: 4, wire.VIDEO: 6}.get(tag.type, 5))

    def kick(self, reset=False):
        """Closes in mid-session, without a word."""
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


class FakeOrigin:
    """Listens on a port of the kernel's. `on_publish(session)` and `on_play(session)` are called on the session's thread; by default
    both are granted. `on_media(session, message)` is called for each message that a publisher sends."""

    def __init__(self):
        self.signal = Signal()
        self.sessions = []          # those that asked to publish or play
        self.handshakes = 0
        self.on_publish = lambda session: session.status("NetStream.Publish.Start")
        self.on_play = self.grant_play
        self.on_media = lambda session, message: None
        # Bound, and never listening: nobody else is to have the port while this origin counts as dead.
        self._keeper = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._keeper.bind(("127.0.0.1", 0))
        self.port = self._keeper.getsockname()[1]
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128, reuse_port=True)
        self.address = f"127.0.0.1:{self.port}"
        self._open = True
        self._socks = []
        threading.Thread(target=self._accept, daemon=True).start()

    @staticmethod
    def grant_play(session):
        session.status("NetStream.Play.Reset")
        session.status("NetStream.Play.Start")

    def asked(self, kind=None, name=None):
        """Sessions that asked for that."""
        return [s for s in list(self.sessions) if (kind is None or s.kind == kind) and (name is None or s.name == name)]

    def await_asked(self, count, kind=None, name=None, timeout=20.0):
        def found():
            sessions = self.asked(kind, name)
            return sessions if len(sessions) >= count else None
        return self.signal.wait(found, timeout, f"{count} sessions of {kind} {name} at the fake origin")

    def close(self):
        """Dies: nothing is accepted any more, everybody is closed."""
        if not self._open:
            return
        self._open = False
        # A close alone leaves the socket to the thread that accepts: it would take one more client.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._socks:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _accept(self):
        while self._open:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socks.append(sock)
            if not self._open:  # close() may not have seen this one
                sock.close()
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        session = Session(self, sock)
        try:
            self._handshake(sock)
            reader = wire.ChunkReader()
            while True:
                data = sock.recv(65536)
                if not data:
                    session.ended = "closed"
                    break
                for message in reader.feed(data):
                    self._take(session, message)
        except (OSError, wire.ChunkError, EOFError) as error:
            session.ended = str(error) or "closed"
        finally:
            try:
                sock.close()
            except OSError:
                pass
            self.signal.changed()

    def _handshake(self, sock):
        def exactly(size):
            out = bytearray()
            while len(out) < size:
                got = sock.recv(size - len(out))
                if not got:
                    raise EOFError
                out += got
            return bytes(out)
        if exactly(1) != b"\x03":
            raise EOFError("no RTMP")
        c1 = exactly(wire.HANDSHAKE_SIZE)
        sock.sendall(b"\x03" + struct.pack(">II", 0, 0) + os.urandom(wire.HANDSHAKE_SIZE - 8) + c1)
        self.handshakes += 1
        exactly(wire.HANDSHAKE_SIZE)

    def _take(self, session, message):
        if message.type == wire.COMMAND:
            self._command(session, amf0.decode(message.payload))
        elif message.type == wire.USER_CONTROL and message.payload[:2] == b"\0\x06":
            session.send(wire.USER_CONTROL, b"\0\x07" + message.payload[2:], csid=2)
        elif message.type >= wire.AUDIO:
            session.messages.append(message)
            self.on_media(session, message)
            self.signal.changed()

    def _command(self, session, command):
        name, number = command[0], command[1]
        session.commands.append(command)
        if name == "connect":
            session.object = command[2]
            session.send(wire.WINDOW_ACK, struct.pack(">I", 2500000), csid=2)
            session.reply("_result", number, {"fmsVer": "FMS/3,0,1,123", "capabilities": 31.0},
                          {"level": "status", "code": "NetConnection.Connect.Success", "description": "", "objectEncoding": 0.0})
        elif name == "createStream":
            session.reply("_result", number, None, 1.0)
        elif name in ("publish", "play"):
            session.kind = name
            session.name, _, session.query = command[3].partition("?")
            answer = self.on_publish if name == "publish" else self.on_play  # before a test that waits may change it
            with self.signal:
                self.sessions.append(session)
            self.signal.changed()
            answer(session)
        elif name in ("releaseStream", "FCPublish", "getStreamLength"):
            session.reply("_result", number, None, amf0.UNDEFINED)
