"""Streams that are made while they run, no packet like another; and clients that keep account of each packet.

Both ends write `Entry`s: what a publisher sent, what a player saw. `lib.audit` compares them.
"""
import random
import socket
import time
from typing import NamedTuple

from . import amf0, flv, rtmp_wire as wire
from .clients import Player, Publisher, set_data_frame
from .reactor import REACTOR
from .waiting import poll

HEADER, KEY, FRAME = "header", "key", "frame"
UNKNOWN = 30  # a message type that no specification has

_SPS, _PPS = bytes.fromhex("6742c01ed900a047fe88010000030001000003003c0f162e48"), bytes.fromhex("68cb8cb2")
_AVC = bytes.fromhex("1700000000 0142c01e ffe1") + len(_SPS).to_bytes(2, "big") + _SPS + b"\1" + len(_PPS).to_bytes(2, "big") + _PPS
_AAC = bytes.fromhex("af00 1210")
_NOISE = random.Random(1).randbytes(1 << 20)


class Entry(NamedTuple):
    """One message, as one end saw it. `at`: time.monotonic() of its sending or arrival."""
    type: int
    timestamp: int
    digest: str
    role: str
    at: float

    @property
    def packet(self):
        return flv.Packet(self.type, self.timestamp, self.digest)


def role_of(kind, payload):
    """Whether a message is in force for what follows (sequence header, metadata, what servers say at the start of a play), a
    keyframe, or any other."""
    if kind == wire.DATA:
        return HEADER if any(word in payload[:40] for word in (b"onMetaData", b"RtmpSampleAccess", b"onStatus")) else FRAME
    if flv.is_sequence_header(kind, payload):
        return HEADER
    return KEY if flv.is_keyframe(kind, payload) else FRAME


def entries(tags):
    """Tags of a file as what somebody published."""
    return [Entry(t.type, t.timestamp, flv.digest(t.payload), role_of(t.type, t.payload), 0.0) for t in tags]


class Content:
    """An endless stream shaped like H.264 and AAC with a data message a second; the number of each packet is in its payload."""

    def __init__(self, name, fps=12.5, gop_seconds=1.0, audio_fps=8, key_bytes=5000, frame_bytes=500, audio_bytes=100,
                 video=True, audio=True, data=True, odd=False, keyframes=True, start=0):
        """`odd`: messages of kinds that nobody looks into as well."""
        self.name, self.start = name, start
        self._frame_ms, self._gop = 1000 / fps, max(1, round(fps * gop_seconds))
        self._audio_ms = 1000 / audio_fps
        self._sizes = {KEY: key_bytes, FRAME: frame_bytes, "audio": audio_bytes}
        self._video, self._audio, self._data, self._odd, self._keyframes = video, audio, data, odd, keyframes

    def headers(self):
        out = [flv.Tag(wire.DATA, self.start, amf0.encode("onMetaData", amf0.Ecma(width=640, height=360, encoder=self.name)))]
        if self._video:
            out.append(flv.Tag(wire.VIDEO, self.start, _AVC))
        if self._audio:
            out.append(flv.Tag(wire.AUDIO, self.start, _AAC))
        return out

    def _body(self, number, size):
        mark = f"{self.name}/{number}/".encode()
        at = number * 977 % (len(_NOISE) - size)
        return mark + _NOISE[at:at + max(0, size - len(mark))]

    def __iter__(self):
        """Tags without the headers, by their timestamps, for ever."""
        number = pictures = sounds = texts = oddities = 0
        while True:
            due = {wire.VIDEO: pictures * self._frame_ms if self._video else None,
                   wire.AUDIO: sounds * self._audio_ms if self._audio else None,
                   wire.DATA: 500 + texts * 1000 if self._data else None,
                   UNKNOWN: oddities * 170 if self._odd else None}
            kind = min((k for k in due if due[k] is not None), key=lambda k: (due[k], -k))
            at = self.start + int(due[kind])
            if kind == wire.VIDEO:
                key = pictures % self._gop == 0 and self._keyframes
                body = self._body(number, self._sizes[KEY if key else FRAME])
                payload = bytes([0x17 if key else 0x27, 1, 0, 0, 0]) + (len(body) + 1).to_bytes(4, "big") + (b"\x65" if key else b"\x41") + body
                pictures += 1
            elif kind == wire.AUDIO:
                payload, sounds = b"\xaf\1" + self._body(number, self._sizes["audio"]), sounds + 1
            elif kind == UNKNOWN:
                kind, oddities = (wire.DATA_AMF3, UNKNOWN)[oddities % 2], oddities + 1
                payload = b"\0" + amf0.encode("onOddity", {"text": f"{self.name}/{number}"})
            else:
                payload, texts = amf0.encode("onTextData", {"text": f"{self.name}/{number}"}), texts + 1
            number += 1
            yield flv.Tag(kind, at, payload)


class LivePublisher(Publisher):
    """Publishes a `Content` at its own pace, on the reactor's thread, never blocking it.

    `sent` are Entries. `on_sent(entry)` is called on the reactor's thread right after a packet was handed to the kernel.
    """

    def __init__(self, address, app, name, content=None, **options):
        self._live = False          # sends without blocking, on the reactor's thread
        super().__init__(address, app, name, **options)
        self.name = name
        self.content = content or Content(name)
        self.on_sent = None
        self.blocked = 0.0          # seconds that the peer did not read
        self._unsent = bytearray()
        self._running = False
        self._headers_sent = False
        self._tags = iter(self.content)
        self._next = next(self._tags)
        self._origin = None         # time.monotonic() of timestamp content.start

    def send_raw(self, data):
        if not self._live:
            return super().send_raw(data)
        with self._sending:
            self._unsent += data
            self._flush()

    def _flush(self):
        while self._unsent:
            try:
                count = self.sock.send(self._unsent, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            del self._unsent[:count]

    def go(self):
        """Begins, or goes on after freeze() with the packet that was next."""
        self._live = self._running = True
        self._origin = None
        REACTOR.at(time.monotonic(), self._tick)
        return self

    def freeze(self):
        """Sends nothing more; the connection stays. What was sent is known when this returns."""
        def stop():
            self._running = False
        REACTOR.call(stop)
        return self

    def put_next(self, count=1):
        """The next packets at once, whatever their time; for publishers that do not run. The last of them."""
        self._live = True

        def work():
            self._put_headers()
            for _ in range(count):
                self._put_one()
        REACTOR.call(work)
        return self.sent[-1]

    def _put_headers(self):
        if not self._headers_sent:
            self._headers_sent = True
            for tag in self.content.headers():
                self.put(tag)

    def _put_one(self):
        tag, self._next = self._next, next(self._tags)
        self.put(tag)

    def put(self, tag, shift=0):
        kind, timestamp, payload = tag
        role = role_of(kind, payload)
        wired = set_data_frame(payload) if kind == wire.DATA and role == HEADER else payload
        self.send(kind, wired, timestamp + shift, self.stream, {wire.AUDIO: 4, wire.VIDEO: 6}.get(kind, 5))
        self.sent.append(Entry(kind, (timestamp + shift) & 0xFFFFFFFF, flv.digest(payload), role, time.monotonic()))
        if self.on_sent:
            self.on_sent(self.sent[-1])

    def _tick(self):
        if not self._running or self.closed is not None:
            return
        now = time.monotonic()
        try:
            if self._unsent:
                with self._sending:
                    self._flush()
                self.blocked += 0.005 if self._unsent else 0.0
            if self._origin is None:
                self._origin = now - (self._next.timestamp - self.content.start) / 1000
                self._put_headers()
            while self._due() <= now and not self._unsent:
                self._put_one()
        except OSError as error:
            self._end(f"send: {error.strerror}")
            return
        REACTOR.at(now + 0.005 if self._unsent else self._due(), self._tick)

    def _due(self):
        return self._origin + (self._next.timestamp - self.content.start) / 1000

    def await_sent_more(self, count, timeout=20.0):
        """Waits until so many more packets were sent."""
        target = len(self.sent) + count
        poll(lambda: len(self.sent) >= target or self.closed, timeout, f"{count} packets of {self.name}")
        assert self.closed is None, f"the publisher of {self.name} was disconnected: {self.closed}"

    def forget(self, count):
        """Drops the first packets of the account; headers stay."""
        def work():
            self.sent[:count] = [e for e in self.sent[:count] if e.role == HEADER]
        REACTOR.call(work)

    def published(self):
        """A copy of what was sent so far."""
        return list(self.sent)

    def last_picture(self):
        """The number, in its payload, of the last picture that was sent. After freeze()."""
        packets = [e for e in self.published() if e.role != HEADER]
        return max(number for number, e in enumerate(packets) if e.type == wire.VIDEO)

    def last_sent(self):
        return next(e for e in reversed(self.sent) if e.role != HEADER)


class Auditor(Player):
    """A player that keeps an Entry of each media or data message instead of the message: `seen`."""

    def __init__(self, address, app, name, **options):
        self.seen = []
        self.marks = 0               # messages between servers that came through to us
        self._digests = set()
        self.name = name
        super().__init__(address, app, name, **options)

    def _take(self, message):
        super()._take(message)
        if message.type in (wire.COMMAND, wire.COMMAND_AMF3) or message.type < wire.AUDIO:
            return
        self.messages.pop()
        if message.type == wire.DATA and b"@sluice" in message.payload[:16]:
            self.marks += 1
        if message.type in (wire.AUDIO, wire.VIDEO) and not message.payload:
            return  # nginx's sign of an idle stream
        entry = Entry(message.type, message.timestamp, message.digest, role_of(message.type, message.payload), message.arrival)
        self.seen.append(entry)
        self._digests.add(message.digest)

    def await_seen(self, entry, timeout=None):
        """Waits until that very payload came."""
        self.wait(lambda: entry.digest in self._digests, timeout, f"the payload of {entry} at a viewer of {self.name}")

    def await_count(self, count, timeout=None):
        self.wait(lambda: len(self.seen) >= count, timeout, f"{count} messages at a viewer of {self.name}")

    def forget(self, count):
        """Drops the first messages of the account."""
        def work():
            self._digests -= {e.digest for e in self.seen[:count]}
            del self.seen[:count]
        REACTOR.call(work)

    def stall(self, since, until=None):
        """The longest pause between two arrivals of media that ended between `since` and `until` (time.monotonic()), in seconds."""
        times = [e.at for e in list(self.seen) if e.type in (wire.AUDIO, wire.VIDEO)]
        pauses = [b - a for a, b in zip(times, times[1:]) if b >= since and (until is None or b <= until)]
        return max(pauses, default=0.0)

    def farewells(self):
        """Status codes by which a server says that the stream has ended; players leave on them."""
        return [s.get("code") for s in self.statuses()
                if s.get("code") in ("NetStream.Play.UnpublishNotify", "NetStream.Play.Stop", "NetStream.Play.Complete")]
