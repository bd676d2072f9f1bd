"""What a peer may send to an RTMP port: rows 1 to 11 of the fault list, at the proxy and at an origin.

Beside each test a stream runs through the same server; at the end of the file not one of its packets may be missing.
"""
import random
import select
import struct
import time

import pytest

from lib import amf0, compare, flv, media, rtmp_wire as wire
from lib.process import resident_bytes
from lib.rtmp import Closed, Connection, Refused
from lib.sluice import MEMORY_FACTOR
from lib.waiting import PATIENCE, poll

HANDSHAKE_TIMEOUT = 2.0  # of the servers that must be quick


class Target:
    """A server under attack, and the stream that must not notice."""

    def __init__(self, world, address, process):
        self.address, self.process = address, process
        self.published = list(media.tags(media.clip()))
        self.publisher = world.publisher(address, name="bystander")
        self.player = world.player(address, name="bystander")
        self.publisher.pace(self.published, loops=1000)
        self.player.await_media(10)

    def refused(self):
        return self.process.metrics().total("sluice_refused_total")

    def check(self):
        """The server lives and the bystander goes on."""
        assert self.process.alive, self.process.tail()
        count = len(self.player.media())
        self.player.await_media(count + 5)

    def verify_bystander(self):
        self.publisher.halt()
        sent = list(self.publisher.sent)
        self.player.await_packet(compare.last_frame(sent))
        compare.assert_delivered(self.player.media(), sent, whole=True, who="bystander")


def server_under_attack(world, role, **options):
    """The proxy of a proxy and an origin, or the origin itself."""
    proxy = world.proxy(**options)
    origin = world.origin([proxy], **options)
    process = proxy if role == "proxy" else origin
    made = Target(world, process.rtmp, process)
    yield made
    made.verify_bystander()


@pytest.fixture(scope="module", params=["proxy", "origin"])
def target(request, shared_world):
    yield from server_under_attack(shared_world, request.param)


@pytest.fixture(scope="module", params=["proxy", "origin"])
def quick_target(request, shared_world):
    """One that gives handshakes little time."""
    yield from server_under_attack(shared_world, request.param, handshake_timeout=f"{HANDSHAKE_TIMEOUT:g}s")


@pytest.fixture
def attack(target, world):
    """A connection that has said `connect`; afterwards the server must be as well as before."""
    connection = world.connection(target.address)
    connection.connect("live")
    yield connection
    target.check()


def assert_closed(target, connection, before):
    """The server closed this connection, and counted why."""
    connection.await_close()
    poll(lambda: target.refused() > before, what="sluice_refused_total to grow")


def raw_chunk(csid=3, form=0, timestamp=0, length=0, kind=20, stream_id=0, body=b""):
    """One chunk with whatever header is asked for."""
    head = wire.basic_header(form, csid)
    if form < 3:
        head += timestamp.to_bytes(3, "big")
    if form < 2:
        head += length.to_bytes(3, "big") + bytes([kind])
    if form == 0:
        head += struct.pack("<I", stream_id)
    return head + body


# -- row 1 -------------------------------------------------------------------------------------------------------


def drip(connections, seconds):
    """Feeds each connection a byte now and then, until all are closed or the time is over; those still open."""
    until = time.monotonic() + seconds
    open_ones = {c.sock: c for c in connections}
    while open_ones and time.monotonic() < until:
        readable, _, _ = select.select(list(open_ones), [], [], 0.2)
        for sock in readable:
            try:
                if sock.recv(65536):
                    continue
            except OSError:
                pass
            del open_ones[sock]
        for sock, connection in list(open_ones.items()):
            if connection.drips:
                try:
                    sock.send(connection.drips[:1])
                    connection.drips = connection.drips[1:]
                except OSError:
                    del open_ones[sock]
    return list(open_ones.values())


def test_stalled_handshakes(quick_target, world):
    """Row 1: silent, half way, dripping a byte at a time: all closed soon after the time limit, with bounded memory."""
    beginnings = [b"", b"\x03", wire.simple_c0c1()[:700], wire.simple_c0c1()]
    target = quick_target
    before, refused = resident_bytes(target.process.pid), target.refused()
    stalled = []
    for number in range(80):
        connection = world.connection(target.address, handshake=False)
        connection.drips = wire.simple_c0c1()[1:] if number % 2 else b""
        connection.send_raw(beginnings[number % 4])
        stalled.append(connection)
    left = drip(stalled, PATIENCE)
    assert not left, f"{len(left)} of {len(stalled)} stalled handshakes are still open"
    assert resident_bytes(target.process.pid) - before < MEMORY_FACTOR * (16 << 20)
    poll(lambda: target.refused() >= refused + len(stalled), what="every one counted")
    target.check()


def test_silence_after_connect(quick_target, world):
    """Row 1: one that greets and then says nothing more is closed too."""
    silent = [world.connection(quick_target.address) for _ in range(2)]
    silent[1].connect("live")
    for connection in silent:
        connection.await_close()
    quick_target.check()


@pytest.mark.parametrize("first", [b"\x06" + bytes(1536), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + bytes(1600),
                                   b"\x16\x03\x01\x02\x00" + bytes(1600), b"\xff" * 1537],
                         ids=["rtmpe", "http", "tls", "garbage"])
def test_other_protocols_on_the_port(quick_target, world, first):
    """What is no RTMP 3 handshake is closed."""
    connection = world.connection(quick_target.address, handshake=False)
    connection.send_raw(first)
    connection.await_close()
    quick_target.check()


# -- rows 2 to 5 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 0x80000000, 0xFFFFFFFF])
def test_bad_chunk_size(target, attack, size):
    """Row 2: 0 and negative."""
    before = target.refused()
    attack.send(wire.SET_CHUNK_SIZE, struct.pack(">I", size), csid=2)
    assert_closed(target, attack, before)


@pytest.mark.parametrize("size", [1, 128, 65536, 0xFFFFFF])
def test_good_chunk_sizes(target, world, stream, size):
    """Row 2: 1 to 0xFFFFFF are honoured, also by messages of many chunks."""
    frames = media.heavy(frames=4, gop=2, frame_bytes=3000 if size < 100 else 150000)
    publisher = world.publisher(target.address, name=stream)
    publisher.set_chunk_size(size)
    publisher.put_all(frames)
    player = world.player(target.address, name=stream)
    player.await_packet(compare.last_frame(frames))
    compare.assert_delivered(player.media(), frames)
    target.check()


def test_message_too_long(target, attack):
    """Row 3: refused at its header, before a byte of it came or was given room."""
    before, resident = target.refused(), resident_bytes(target.process.pid)
    attack.send_raw(raw_chunk(csid=6, length=0xFFFFFF, kind=9, stream_id=1))
    assert_closed(target, attack, before)
    assert resident_bytes(target.process.pid) - resident < MEMORY_FACTOR * (8 << 20)


def test_many_begun_messages_take_no_memory_beforehand(target, world):
    """Row 3: headers that announce 8 MiB each, on many connections, without the bytes: memory follows what came, not what was said."""
    resident = resident_bytes(target.process.pid)
    for _ in range(30):
        connection = world.connection(target.address)
        connection.connect("live")
        connection.send_raw(b"".join(raw_chunk(csid=10 + n, length=(8 << 20) - 1, kind=9, stream_id=1, body=bytes(128)) for n in range(8)))
    target.check()
    assert resident_bytes(target.process.pid) - resident < MEMORY_FACTOR * (64 << 20)


def test_too_many_chunk_streams(target, attack):
    """Row 4: 1,000 begun messages on 1,000 chunk streams."""
    before = target.refused()
    try:
        for n in range(1000):
            attack.send_raw(raw_chunk(csid=3 + n, length=200, kind=9, stream_id=1, body=bytes(128)))
    except OSError:
        pass  # closed in the middle, as it should
    assert_closed(target, attack, before)


def test_length_changes_inside_a_message(target, attack):
    """Row 5: a second header on the chunk stream, with another length, before the first message is complete."""
    before = target.refused()
    attack.send_raw(raw_chunk(csid=6, length=300, kind=9, stream_id=1, body=bytes(128)))
    attack.send_raw(raw_chunk(csid=6, length=200, kind=9, stream_id=1, body=bytes(128)))
    assert_closed(target, attack, before)


def test_first_chunk_without_header(target, attack):
    """A chunk stream that begins with a type 3 (or 1, 2) chunk has no length to go by."""
    before = target.refused()
    attack.send_raw(raw_chunk(csid=40, form=3, body=bytes(128)))
    assert_closed(target, attack, before)


# -- row 6 -------------------------------------------------------------------------------------------------------


def chunks_without_repeated_timestamp(timestamp, stream_id, csid, payload, size):
    """As some old encoders write: the extended timestamp only in the first chunk of a message."""
    first = wire.chunks(9, timestamp, stream_id, csid, payload[:size], size)
    out = bytearray(first)
    out[4:7] = len(payload).to_bytes(3, "big")
    for at in range(size, len(payload), size):
        out += wire.basic_header(3, csid) + payload[at:at + size]
    return bytes(out)


@pytest.mark.parametrize("base", [0xFFFFFF - 500, 0x80000000 - 500, 0xFFFFFFFF - 500], ids=["2^24", "2^31", "2^32"])
@pytest.mark.parametrize("repeated", [True, False], ids=["in-type-3", "not-in-type-3"])
def test_extended_timestamps(target, world, stream, base, repeated):
    """Row 6: across 2^24, 2^31 and the wrap at 2^32, with and without the timestamp in type 3 chunks: the same out as in."""
    plain = media.heavy(frames=50, gop=50, frame_bytes=1000)
    publisher = world.publisher(target.address, name=stream)
    player = world.player(target.address, name=stream)
    publisher.set_chunk_size(128)
    sent = [flv.Tag(t.type, (t.timestamp + base) & 0xFFFFFFFF, t.payload) for t in plain]
    for tag in sent:
        if repeated or tag.timestamp < 0xFFFFFF:
            publisher.send(tag.type, tag.payload, tag.timestamp, publisher.stream, 6)
        else:
            publisher.send_raw(chunks_without_repeated_timestamp(tag.timestamp, publisher.stream, 6, tag.payload, 128))
    player.await_packet(compare.last_frame(sent))
    compare.assert_delivered(player.media(), sent, whole=True)
    target.check()


def test_delta_headers(target, world, stream):
    """Chunk types 1, 2 and 3 with deltas, as encoders save bytes: timestamps come out absolute and right."""
    tags = media.heavy(frames=20, gop=20, frame_bytes=100)
    publisher = world.publisher(target.address, name=stream)
    player = world.player(target.address, name=stream)
    publisher.set_chunk_size(65536)
    publisher.put(tags[0])
    for n, tag in enumerate(tags[1:]):
        if n == 0:
            publisher.put(tag)
        elif n == 1:    # type 1: length and type as well, delta 40
            publisher.send_raw(raw_chunk(csid=6, form=1, timestamp=40, length=100, kind=9, body=tag.payload))
        elif n % 5 == 2:  # type 2: the delta only
            publisher.send_raw(raw_chunk(csid=6, form=2, timestamp=40, body=tag.payload))
        else:           # type 3: everything as before
            publisher.send_raw(raw_chunk(csid=6, form=3, body=tag.payload))
    player.await_packet(compare.last_frame(tags))
    compare.assert_delivered(player.media(), tags, whole=True)
    target.check()


# -- row 7 -------------------------------------------------------------------------------------------------------

_NESTED = amf0.encode("connect", 1) + b"\x03\0\x01a" * 70000
_ARRAYS = amf0.encode("connect", 1) + b"\x0a\0\0\0\x01" * 70000
BAD_AMF = {
    "nested objects": _NESTED,
    "nested arrays": _ARRAYS,
    "array of 2^32": amf0.encode("connect", 1) + b"\x0a\xff\xff\xff\xff",
    "map of 2^32": amf0.encode("connect", 1) + b"\x08\xff\xff\xff\xff",
    "cut string": amf0.encode("connect", 1) + b"\x02\xff\xffabc",
    "long string of 4 GiB": amf0.encode("connect", 1) + b"\x0c\xff\xff\xff\xffabc",
    "cut number": amf0.encode("connect") + b"\0\x3f",
    "no name": b"",
    "unknown marker": amf0.encode("connect", 1) + b"\x7f",
    "reference to nothing": amf0.encode("connect", 1) + b"\x07\xff\xff",
}


@pytest.mark.parametrize("name", BAD_AMF)
def test_bad_amf_in_a_command(target, world, name):
    """Row 7: refused or closed; never a crash, nor memory for what was only announced."""
    resident = resident_bytes(target.process.pid)
    connection = world.connection(target.address)
    connection.set_chunk_size(65536)
    connection.send(wire.COMMAND, BAD_AMF[name])
    with pytest.raises((Refused, Closed, OSError)):
        connection.connect("live")
        connection.publish("bad")
        connection.await_close(timeout=0.5)
    assert resident_bytes(target.process.pid) - resident < MEMORY_FACTOR * (32 << 20)
    target.check()


@pytest.mark.parametrize("name", BAD_AMF)
def test_bad_amf_as_metadata(target, world, stream, name, tags):
    """Row 7 in @setDataFrame: the publisher may be closed or the metadata ignored, nothing else."""
    publisher = world.publisher(target.address, name=stream)
    body = BAD_AMF[name].replace(amf0.encode("connect", 1), amf0.encode("@setDataFrame", "onMetaData"))
    try:
        publisher.send(wire.DATA, body, 0, publisher.stream, 5)
        publisher.put_all(tags[:20])
    except OSError:
        pass
    target.check()


# -- rows 8, 9 ---------------------------------------------------------------------------------------------------


def test_abort_inside_a_message(target, world, stream, tags):
    """Row 8: what was begun is forgotten, and what follows on that chunk stream is whole."""
    publisher = world.publisher(target.address, name=stream)
    player = world.player(target.address, name=stream)
    publisher.put_all(tags[:20])
    publisher.send_raw(raw_chunk(csid=6, timestamp=900, length=9000, kind=9, stream_id=publisher.stream, body=bytes(4096)))
    publisher.send(wire.ABORT, struct.pack(">I", 6), csid=2)
    publisher.put_all(tags[20:])
    player.await_packet(compare.last_frame(tags))
    compare.assert_delivered(player.media(), tags, whole=True)
    target.check()


def test_set_chunk_size_inside_a_message(target, world, stream, tags):
    """Row 8: it takes effect for the chunks that follow, also of the message under way."""
    publisher = world.publisher(target.address, name=stream)
    player = world.player(target.address, name=stream)
    big = media.heavy(frames=2, gop=2, frame_bytes=9000)
    publisher.put(big[0])
    for tag in big[1:]:
        publisher.set_chunk_size(1000)
        publisher.send_raw(raw_chunk(csid=6, timestamp=tag.timestamp, length=9000, kind=9, stream_id=publisher.stream,
                                     body=tag.payload[:1000]))
        publisher.set_chunk_size(500)
        publisher.send_raw(raw_chunk(csid=6, form=3, body=tag.payload[1000:1500]))
        publisher.set_chunk_size(65536)
        publisher.send_raw(raw_chunk(csid=6, form=3, body=tag.payload[1500:]))
    player.await_packet(compare.last_frame(big))
    compare.assert_delivered(player.media(), big, whole=True)
    target.check()


def test_no_acknowledgements(target, world, stream):
    """Row 9: a player that never acknowledges, and one that sets windows of 0, get all of 10 MB; memory stays."""
    frames = media.heavy(frames=200, gop=50, frame_bytes=50000)
    publisher = world.publisher(target.address, name=stream)
    silent = world.player(target.address, name=stream, acknowledge=False, answer_pings=False)
    zero = world.player(target.address, name=stream)
    zero.send(wire.WINDOW_ACK, struct.pack(">I", 0), csid=2)
    zero.send(wire.PEER_BANDWIDTH, struct.pack(">IB", 0, 0), csid=2)
    publisher.send(wire.WINDOW_ACK, struct.pack(">I", 0), csid=2)
    publisher.put_all(frames)
    for player in (silent, zero):
        player.await_packet(compare.last_frame(frames))
        compare.assert_delivered(player.media(), frames, whole=True)
    acknowledgements = [m for m in publisher.messages if m.type == wire.ACK]
    assert len(acknowledgements) < 1000, "a window of 0 makes the server acknowledge every byte"
    target.check()


def test_window_of_one(target, world, stream, tags):
    """Row 9: a window of 1 byte must not make more acknowledgements than there are reads."""
    publisher = world.publisher(target.address, name=stream)
    publisher.send(wire.WINDOW_ACK, struct.pack(">I", 1), csid=2)
    player = world.player(target.address, name=stream)
    publisher.put_all(tags)
    player.await_packet(compare.last_frame(tags))
    assert sum(m.type == wire.ACK for m in publisher.messages) <= len(tags) + 10
    target.check()


# -- commands out of order, floods -------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["publish before connect", "play before connect", "publish on stream 0", "media before publish",
                                 "connect twice", "publish twice", "publish without arguments", "numbers as names"])
def test_commands_out_of_order(target, world, stream, act, tags):
    """Nonsense in the right syntax: an answer or a close, and nobody else notices."""
    connection = world.connection(target.address)
    try:
        if "before connect" in act:
            connection.command(act.split()[0], 1, None, stream, stream_id=1)
        else:
            connection.connect("live")
            if act == "publish on stream 0":
                connection.command("publish", 2, None, stream, "live", stream_id=0)
            elif act == "media before publish":
                connection.send(wire.VIDEO, tags[1].payload, 0, 1, 6)
            elif act == "connect twice":
                connection.connect("other", timeout=3)
            elif act == "publish twice":
                connection.publish(stream)
                connection.command("publish", 0, None, stream + "b", "live", stream_id=1)
            elif act == "publish without arguments":
                connection.create_stream()
                connection.command("publish", 5, stream_id=1)
            else:
                connection.create_stream()
                connection.command("publish", 5, None, 7, {"a": 1}, stream_id=1)
    except (Refused, Closed, OSError, AssertionError):
        pass
    target.check()


def test_flood_of_commands(target, world):
    """Thousands of createStream, FCPublish and pings whose answers are never read: bounded memory, others untouched."""
    resident = resident_bytes(target.process.pid)
    flood = world.connection(target.address, receive_buffer=4096)
    flood.connect("live")
    body = wire.chunks(wire.COMMAND, 0, 0, 3, amf0.encode("createStream", 3, None), 128)
    ping = wire.chunks(wire.USER_CONTROL, 0, 0, 2, b"\0\x06\0\0\0\1", 128)
    flood.sock.settimeout(2)
    try:
        for _ in range(200):
            flood.send_raw((body + ping) * 500)
    except OSError:
        pass  # closed, or no longer read: both are answers
    target.check()
    assert resident_bytes(target.process.pid) - resident < MEMORY_FACTOR * (32 << 20)


def test_random_bytes(target, world):
    """After a good handshake, noise."""
    for seed in range(20):
        connection = world.connection(target.address)
        try:
            connection.connect("live")
            connection.send_raw(random.Random(seed).randbytes(20000))
            connection.await_close()
        except OSError:
            pass
    target.check()


def test_cut_connections(target, world, tags):
    """Clients that vanish at every step of the way leave no session behind."""
    before = target.process.metrics().total("sluice_sessions")
    steps = [lambda c, end: None, lambda c, end: c.connect("live"), lambda c, end: (c.connect("live"), c.create_stream()),
             lambda c, end: (c.connect("live"), c.start_play("cut")), lambda c, end: (c.connect("live"), c.publish(f"cut-by-{end}"))]
    for step in steps:
        for end in ("close", "reset"):
            connection = Connection(target.address)
            step(connection, end)
            getattr(connection, end)()
    poll(lambda: target.process.metrics().total("sluice_sessions") <= before, what="all sessions gone", timeout=20)
    target.check()


def test_every_refusal_is_logged_with_peer_and_reason(target, world):
    """faults.md: "closed" means a log line that names the peer and the reason."""
    connection = world.connection(target.address)
    connection.connect("live")
    port = connection.sock.getsockname()[1]
    connection.send(wire.SET_CHUNK_SIZE, bytes(4), csid=2)
    connection.await_close()
    event = target.process.await_event("session_refused", peer=f"127.0.0.1:{port}")
    assert event["reason"] and event["reason"] == event["reason"].lower()
    reasons = {labels["reason"] for labels, _ in target.process.metrics().named("sluice_refused_total")}
    assert event["reason"] in reasons
