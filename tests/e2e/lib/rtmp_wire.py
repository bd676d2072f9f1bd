"""RTMP on the wire: handshakes and chunks (Adobe's RTMP 1.0, sections 5.2 and 5.3), written apart from the product's."""
import hashlib
import hmac
import os
import struct
import time

SET_CHUNK_SIZE, ABORT, ACK, USER_CONTROL, WINDOW_ACK, PEER_BANDWIDTH = 1, 2, 3, 4, 5, 6
AUDIO, VIDEO, DATA_AMF3, COMMAND_AMF3, DATA, COMMAND, AGGREGATE = 8, 9, 15, 17, 18, 20, 22
HANDSHAKE_SIZE = 1536

_SUFFIX = bytes.fromhex("F0EEC24A8068BEE82E00D0D1029E7E576EEC5D2D29806FAB93B8E636CFEB31AE")
_PLAYER_KEY = b"Genuine Adobe Flash Player 001"
_SERVER_KEY = b"Genuine Adobe Flash Media Server 001"


class Message:
    """One whole message, as read or to be written."""
    __slots__ = ("type", "timestamp", "stream_id", "csid", "payload", "arrival", "digest")

    def __init__(self, type, timestamp, stream_id, csid, payload, arrival=0.0):
        self.type, self.timestamp, self.stream_id, self.csid = type, timestamp, stream_id, csid
        self.payload, self.arrival = payload, arrival
        self.digest = hashlib.sha1(payload).hexdigest()

    def __repr__(self):
        return f"<type {self.type} at {self.timestamp} of {len(self.payload)} B, stream {self.stream_id}>"


def basic_header(form, csid):
    if csid < 64:
        return bytes([form << 6 | csid])
    if csid < 320:
        return bytes([form << 6, csid - 64])
    return bytes([form << 6 | 1, (csid - 64) & 0xFF, (csid - 64) >> 8])


def chunks(type, timestamp, stream_id, csid, payload, chunk_size):
    """A message as a type 0 chunk and, beyond `chunk_size`, type 3 chunks."""
    extended = timestamp >= 0xFFFFFF
    tail = struct.pack(">I", timestamp) if extended else b""
    stamp = 0xFFFFFF if extended else timestamp
    out = bytearray(basic_header(0, csid) + stamp.to_bytes(3, "big") + len(payload).to_bytes(3, "big")
                    + bytes([type]) + struct.pack("<I", stream_id) + tail)
    out += payload[:chunk_size]
    continuation = basic_header(3, csid) + tail
    for at in range(chunk_size, len(payload), chunk_size):
        out += continuation + payload[at:at + chunk_size]
    return bytes(out)


class ChunkError(Exception):
    pass


class _ChunkStream:
    __slots__ = ("timestamp", "delta", "length", "type", "stream_id", "extended", "parts", "have", "seen_type0")

    def __init__(self):
        self.timestamp = self.delta = self.length = self.type = self.stream_id = self.have = 0
        self.extended = self.seen_type0 = False
        self.parts = []


class ChunkReader:
    """Bytes in, messages out. Follows SetChunkSize and Abort by itself; strict: it raises on what a server must not send."""

    def __init__(self):
        self.chunk_size = 128
        self._buffer = bytearray()
        self._streams = {}

    def feed(self, data):
        self._buffer += data
        out = []
        at = 0
        view = self._buffer
        size = len(view)
        now = time.monotonic()
        while True:
            step = self._chunk(view, at, size, now, out)
            if step == 0:
                break
            at += step
        if at:
            del self._buffer[:at]
        return out

    def _chunk(self, data, start, size, now, out):
        """The bytes of the chunk at `start`, or 0 if it is not all there yet."""
        at = start
        if at >= size:
            return 0
        form, csid = data[at] >> 6, data[at] & 63
        at += 1
        if csid < 2:
            extra = csid + 1
            if at + extra > size:
                return 0
            csid = 64 + data[at] + (data[at + 1] << 8 if extra == 2 else 0)
            at += extra
        header = (11, 7, 3, 0)[form]
        if at + header > size:
            return 0
        stream = self._streams.get(csid)
        if stream is None:
            if form != 0:
                raise ChunkError(f"chunk stream {csid} begins with a type {form} chunk")
            stream = self._streams[csid] = _ChunkStream()
        if stream.have and form != 3:
            raise ChunkError(f"a message on chunk stream {csid} is cut by a type {form} chunk")
        stamp = int.from_bytes(data[at:at + 3], "big") if header else None
        extended = stamp == 0xFFFFFF if header else stream.extended
        length = int.from_bytes(data[at + 3:at + 6], "big") if header >= 7 else stream.length
        end = at + header
        if extended:
            if end + 4 > size:
                return 0
            value = int.from_bytes(data[end:end + 4], "big")
            stamp = value if header else None
            end += 4
        take = min(self.chunk_size, length - stream.have)
        if end + take > size:
            return 0
        # All there: only now may the state change.
        if header >= 7:
            stream.length, stream.type = length, data[at + 6]
        if header == 11:
            stream.stream_id = int.from_bytes(data[at + 7:at + 11], "little")
        stream.extended = extended
        if form == 0:
            stream.timestamp, stream.delta = stamp, stamp
        elif form in (1, 2):
            stream.delta = stamp
            stream.timestamp = (stream.timestamp + stamp) & 0xFFFFFFFF
        elif stream.have == 0:
            stream.timestamp = (stream.timestamp + stream.delta) & 0xFFFFFFFF
        stream.parts.append(bytes(data[end:end + take]))
        stream.have += take
        if stream.have == stream.length:
            payload = stream.parts[0] if len(stream.parts) == 1 else b"".join(stream.parts)
            stream.parts, stream.have = [], 0
            message = Message(stream.type, stream.timestamp, stream.stream_id, csid, payload, now)
            self._control(message)
            out.append(message)
        return end + take - start

    def _control(self, message):
        if message.type == SET_CHUNK_SIZE:
            self.chunk_size = int.from_bytes(message.payload[:4], "big")
            if not 0 < self.chunk_size <= 0xFFFFFF:
                raise ChunkError(f"chunk size {self.chunk_size}")
        elif message.type == ABORT:
            stream = self._streams.get(int.from_bytes(message.payload[:4], "big"))
            if stream:
                stream.parts, stream.have = [], 0


# -- handshakes --------------------------------------------------------------------------------------------------


def simple_c0c1():
    return b"\x03" + struct.pack(">II", 0, 0) + os.urandom(HANDSHAKE_SIZE - 8)


def _digest_at(block, scheme):
    base = 8 if scheme == 0 else 772
    return sum(block[base:base + 4]) % 728 + base + 4


def _sign(block, at, key):
    return hmac.new(key, block[:at] + block[at + 32:], hashlib.sha256).digest()


def digest_c0c1(scheme=1):
    """C0 and a C1 that carries a digest (the form Flash Player 9 and librtmp use); and the digest."""
    block = bytearray(struct.pack(">II", 0, 0x0A000C02) + os.urandom(HANDSHAKE_SIZE - 8))
    at = _digest_at(block, scheme)
    mark = _sign(bytes(block), at, _PLAYER_KEY)
    block[at:at + 32] = mark
    return b"\x03" + bytes(block), mark


def check_digest_s1s2(s1, s2, c1_digest):
    """Checks that S1 is signed (in either place, as librtmp accepts it) and that S2 answers our digest; returns C2."""
    signed = [at for at in (_digest_at(s1, 0), _digest_at(s1, 1)) if _sign(s1, at, _SERVER_KEY) == s1[at:at + 32]]
    if not signed:
        raise ChunkError("S1 carries no valid digest")
    mark = s1[signed[0]:signed[0] + 32]
    key = hmac.new(_SERVER_KEY + _SUFFIX, c1_digest, hashlib.sha256).digest()
    if hmac.new(key, s2[:-32], hashlib.sha256).digest() != s2[-32:]:
        raise ChunkError("S2 does not answer the digest of C1")
    body = os.urandom(HANDSHAKE_SIZE - 32)
    key = hmac.new(_PLAYER_KEY + _SUFFIX, mark, hashlib.sha256).digest()
    return body + hmac.new(key, body, hashlib.sha256).digest()
