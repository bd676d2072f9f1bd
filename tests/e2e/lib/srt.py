"""SRT for the tests: libsrt itself (by ctypes), as callers and as listeners that serve several connections at once."""
import ctypes
import hashlib
import random
import socket
import struct
import sys
import threading
import time

try:
    from .waiting import Signal
except ImportError:  # as a program
    Signal = None

#: Options of srt.h.
RCVTIMEO, PASSPHRASE, PBKEYLEN, TLPKTDROP, CONNTIMEO, RCVLATENCY, PEERLATENCY, STREAMID = 14, 26, 27, 31, 36, 43, 44, 46
CONNECTED = 5
ESCLOSED = 1005
#: MPEG-TS in SRT: seven packets of 188 bytes.
MESSAGE = 1316

_lib = ctypes.CDLL("libsrt-gnutls.so.1.5")
_lib.srt_getlasterror_str.restype = ctypes.c_char_p
_lib.srt_startup()
_lib.srt_setloglevel(2)


def sockaddr(address):
    """The kernel's form of (host, port)."""
    host, port = address[:2]
    if ":" in host:
        return struct.pack("=HHI16sI", socket.AF_INET6, socket.htons(port), 0, socket.inet_pton(socket.AF_INET6, host), 0)
    return struct.pack("=HH4s8x", socket.AF_INET, socket.htons(port), socket.inet_aton(host))


class Refused(Exception):
    """A connection that did not come to be; `reason` as srt.h and access_control.h number it, `error` as srt_getlasterror()."""

    def __init__(self, reason, error):
        super().__init__(f"refused: {reason}, error {error}")
        self.reason, self.error = reason, error


class EndedAtOnce(Exception):
    """A connection that was made, and that its peer ended before connect() returned."""


class Socket:
    """A blocking SRT socket."""

    def __init__(self, handle=None, latency=2000, passphrase=None, stream_id=None, connect_timeout=20000, recv_timeout=10000,
                 too_late_drop=True):
        self.handle = _lib.srt_create_socket() if handle is None else handle
        self.served = False  # whether an Origin has taken all that came
        if handle is None:
            for option, value in ((RCVLATENCY, latency), (PEERLATENCY, latency), (CONNTIMEO, connect_timeout)):
                self._set(option, struct.pack("i", value))
            if passphrase:
                self._set(PASSPHRASE, passphrase.encode())
            if stream_id is not None:
                self._set(STREAMID, stream_id.encode())
            if not too_late_drop:
                self._set(TLPKTDROP, struct.pack("i", 0))
        self._set(RCVTIMEO, struct.pack("i", recv_timeout))

    def _set(self, option, value):
        if _lib.srt_setsockflag(self.handle, option, value, len(value)) != 0:
            raise OSError(f"srt option {option}: {_lib.srt_getlasterror_str().decode()}")

    @property
    def stream_id(self):
        text, size = ctypes.create_string_buffer(513), ctypes.c_int(512)
        _lib.srt_getsockflag(self.handle, STREAMID, text, ctypes.byref(size))
        return text.raw[:size.value].decode("utf-8", "replace")

    @property
    def key_bytes(self):
        """The length of the key that it encrypts with."""
        value, size = ctypes.c_int(), ctypes.c_int(4)
        _lib.srt_getsockflag(self.handle, PBKEYLEN, ctypes.byref(value), ctypes.byref(size))
        return value.value

    @property
    def connected(self):
        return _lib.srt_getsockstate(self.handle) == CONNECTED

    def connect(self, address):
        name = sockaddr(address)
        if _lib.srt_connect(self.handle, name, len(name)) == -1:
            error, reason = _lib.srt_getlasterror(None), _lib.srt_getrejectreason(self.handle)
            self.close()
            raise EndedAtOnce if error == ESCLOSED else Refused(reason, error)
        return self

    def send(self, message):
        return _lib.srt_sendmsg(self.handle, message, len(message), -1, 1) == len(message)

    def recv(self):
        """The next message; None when the connection has ended, or nothing came in its time."""
        buffer = ctypes.create_string_buffer(2048)
        size = _lib.srt_recvmsg(self.handle, buffer, 2048)
        return buffer.raw[:size] if size > 0 else None

    def close(self):
        if self.handle >= 0:
            _lib.srt_close(self.handle)
            self.handle = -1


def message(index, name=""):
    """One that knows its place: no two of all streams are alike."""
    seed = hashlib.sha256(f"{name}/{index}".encode()).digest()
    return (struct.pack(">I", index) + seed * 41)[:MESSAGE]


def call(address, stream_id, **options):
    return Socket(stream_id=stream_id, **options).connect(address)


def publish(address, name, count, pace=0.002, **options):
    """A caller who sends `count` messages and stays connected."""
    caller = call(address, f"#!::r=live/{name},m=publish", **options)
    for index in range(count):
        if not caller.send(message(index, name)):
            break
        time.sleep(pace)  # the source's own time
    return caller


def receive(sock, name, count):
    """How many of `count` messages came, each whole and in its place; stops at the first that did not."""
    for index in range(count):
        if sock.recv() != message(index, name):
            return index
    return count


class Origin:
    """A listener that takes every connection, on a port of its own. A publisher's messages are kept, by his stream id, and given to whoever
    requests the same stream, from the first on."""

    def __init__(self, host="127.0.0.1", passphrase=None, too_late_drop=True):
        self.signal = Signal()
        self.host, self.passphrase = host, passphrase
        self.published, self.sessions, self.accepted = {}, [], []
        self._listener = Socket(passphrase=passphrase, too_late_drop=too_late_drop)
        name = sockaddr((host, 0))
        assert _lib.srt_bind(self._listener.handle, name, len(name)) == 0, _lib.srt_getlasterror_str()
        bound, size = ctypes.create_string_buffer(128), ctypes.c_int(128)
        _lib.srt_getsockname(self._listener.handle, bound, ctypes.byref(size))
        self.port = struct.unpack(">H", bound.raw[2:4])[0]
        assert _lib.srt_listen(self._listener.handle, 1024) == 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self):
        return f"udp://[{self.host}]:{self.port}" if ":" in self.host else f"udp://{self.host}:{self.port}"

    def _accept(self):
        while True:
            handle = _lib.srt_accept(self._listener.handle, None, None)
            if handle < 0:
                return
            try:
                session = Socket(handle)
            except OSError:
                continue  # it has left already
            with self.signal:
                self.sessions.append(session)
                self.accepted.append(session.stream_id)
            self.signal.changed()
            threading.Thread(target=self._serve, args=(session, session.stream_id), daemon=True).start()

    def _serve(self, session, stream_id):
        name = stream_id.split("r=")[-1].split(",")[0].split("?")[0]
        try:
            if "m=publish" in stream_id:
                self._keep(session, self.published.setdefault(name, []))
            else:
                self._play(session, name)
        finally:
            session.served = True
            self.signal.changed()

    def _keep(self, session, kept):
        while True:
            got = session.recv()
            if got is not None:
                with self.signal:
                    kept.append(got)
                self.signal.changed()
            elif not session.connected:
                return

    def _play(self, session, name):
        sent = 0
        while session.connected:
            kept = self.published.get(name, [])
            if sent < len(kept):
                session.send(kept[sent])
                sent += 1
            time.sleep(0.001)

    def received(self, name, count, timeout=30):
        """Waits for `count` messages of a stream, and says which of them are not as they were sent."""
        kept = self.signal.wait(lambda: len(self.published.get(name, [])) >= count and self.published[name], timeout,
                                f"{count} messages of {name}", lambda: f"{len(self.published.get(name, []))} are there")
        return [i for i in range(count) if kept[i] != message(i, name.split("/")[-1])]

    def vanish(self):
        """As if its process had been killed: its sockets close, and nobody says goodbye. (libsrt says it; a relay that is cut does not.)"""
        for session in self.sessions:
            session.close()
        self._listener.close()

    close = vanish


class BadNetwork:
    """A UDP relay in front of one address that loses, repeats and reorders; by chance, from a seed. Tells who asks where to send to."""

    def __init__(self, target, loss=0.0, reorder=0.0, seed=1, host="127.0.0.1"):
        self.target, self.loss, self.reorder = target, loss, reorder
        self._random = random.Random(seed)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._front = socket.socket(family, socket.SOCK_DGRAM)
        self._front.bind((host, 0))
        self.address = self._front.getsockname()[:2]
        self._family, self._backs, self._held, self.lost = family, {}, {}, 0
        self.cut = False
        threading.Thread(target=self._forth, daemon=True).start()

    def _spoiled(self, key, datagram, send):
        if self.cut:
            return
        if self._random.random() < self.loss:
            self.lost += 1
            return
        held = self._held.pop(key, None)
        if held is None and self._random.random() < self.reorder:
            self._held[key] = datagram
            return
        try:
            send(datagram)
            if held is not None:
                send(held)
        except OSError:
            pass

    def _forth(self):
        while True:
            try:
                datagram, peer = self._front.recvfrom(2048)
            except OSError:
                return
            back = self._backs.get(peer)
            if back is None:
                back = self._backs[peer] = socket.socket(self._family, socket.SOCK_DGRAM)
                back.connect(self.target)
                threading.Thread(target=self._back, args=(back, peer), daemon=True).start()
            self._spoiled((peer, 0), datagram, back.send)

    def _back(self, back, peer):
        while True:
            try:
                datagram = back.recv(2048)
            except ConnectionRefusedError:
                continue
            except OSError:
                return
            self._spoiled((peer, 1), datagram, lambda d: self._front.sendto(d, peer))

    def close(self):
        self._front.close()
        for back in self._backs.values():
            back.close()


# ---- datagrams by hand

def handshake(request=1, version=4, extension=2, cookie=0, socket_id=7, mss=1500, window=8192, sequence=1000, extensions=b""):
    return struct.pack(">IIII IHHIIIIII 16s", 0x80000000, 0, 0, 0, version, 0, extension, sequence, mss, window, request, socket_id, cookie,
                       b"\1\0\0\x7f" + bytes(12)) + extensions


def stream_id_extension(text):
    padded = text.encode() + bytes(-len(text) % 4)
    swapped = b"".join(padded[i:i + 4][::-1] for i in range(0, len(padded), 4))
    return struct.pack(">HH", 5, len(swapped) // 4) + swapped


HELLO = struct.pack(">HHIII", 1, 3, 0x010501, 0xBF, 0x00780078)


class RawCaller:
    """A UDP socket that speaks SRT as the test wants it."""

    def __init__(self, address, source=None):
        self.sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(address)
        self.sock.settimeout(5)

    def ask(self, datagram, timeout=5):
        """The answer, or None."""
        self.sock.settimeout(timeout)
        self.sock.send(datagram)
        try:
            return self.sock.recv(2048)
        except socket.timeout:
            return None

    def answered(self):
        """Whether somebody listens there; leaves nothing behind."""
        try:
            return self.ask(handshake(), timeout=0.5) is not None
        except ConnectionRefusedError:
            return False

    def cookie(self, **options):
        answer = self.ask(handshake(**options))
        return struct.unpack(">I", answer[44:48])[0]

    def close(self):
        self.sock.close()


def flood(address, rate=20000):
    """Inductions and conclusions with forged cookies from many addresses, without end."""
    socks = []
    for i in range(1, 9):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((f"127.0.{i}.1", 0))
        socks.append(sock)
    print("begins", flush=True)
    for turn in range(1 << 30):
        asked = handshake(socket_id=turn + 1)
        told = handshake(0xFFFFFFFF, 5, 5, 4711 + turn, socket_id=turn + 1, extensions=HELLO + stream_id_extension("#!::r=live/x,m=publish"))
        for sock in socks:
            for datagram in (asked, told) * 5:
                sock.sendto(datagram, address)
        time.sleep(80 / rate)


def request_of(answer):
    """The request field of a handshake: 1 an induction, above 1000 a refusal."""
    return struct.unpack(">I", answer[36:40])[0]


if __name__ == "__main__":
    flood((sys.argv[1], int(sys.argv[2])))
