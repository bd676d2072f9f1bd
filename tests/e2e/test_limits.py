"""Too much of something: descriptors, viewers who do not read, sessions (rows 16, 35, 39)."""
import resource

import pytest

from lib import compare, flv, media, net, srt
from lib.clients import Player
from lib.http_live import FlvViewer
from lib.process import descriptors, resident_bytes
from lib.rtc_script import RtcClient, RtcScript
from lib.rtmp import Closed, Connection, Refused
from lib.sluice import MEMORY_FACTOR, UNHURRIED
from lib.srt_origin import Stock
from lib.waiting import poll

RELAYS = ["per-viewer", "collapse"]


def low_descriptor_limit(count):
    def setup():
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))
    return setup


#: Descriptors for an out-of-descriptors test: a server keeps some for itself, and closes who only greeted after 10 s.
LIMIT = 256


def fill(address, count):
    """Opens connections until the server refuses them; those that it took, and how many it refused."""
    taken, refused = [], 0
    for _ in range(count):
        try:
            connection = Connection(address)
            connection.connect("live")
            taken.append(connection)
        except (Closed, Refused, OSError):
            refused += 1
            if refused >= 5:
                break
    return taken, refused


@pytest.mark.parametrize("role", ["proxy", "origin"])
def test_out_of_descriptors(world, role, tags):
    """Row 35: at its descriptor limit the server refuses new clients, counts that, never runs into EMFILE, and the streams go on."""
    setup = low_descriptor_limit(LIMIT)
    proxy = world.proxy(setup=setup if role == "proxy" else None, shards=1)
    origin = world.origin([proxy], setup=setup if role == "origin" else None)
    server = proxy if role == "proxy" else origin
    publisher = world.publisher(server.rtmp, name="s")
    player = world.player(server.rtmp, name="s")
    publisher.pace(tags, loops=1000)
    player.await_media(10)

    taken, refused = fill(server.rtmp, LIMIT)
    assert refused, f"all of {len(taken)} clients were taken with {LIMIT} descriptors"
    assert len(taken) >= 20, f"only {len(taken)} were taken"
    assert descriptors(server.pid) < LIMIT
    count = len(player.media())
    player.await_media(count + 30)
    figures = server.metrics()
    assert figures.total("sluice_refused_total", proto="rtmp") >= refused, "refusals are not counted"
    assert not server.find("accept_paused"), "it ran into EMFILE before it refused"

    for connection in taken:
        connection.close()
    poll(lambda: _accepted(server.rtmp), what="a client taken after the others left", every=0.1)
    publisher.halt()
    player.await_packet(compare.last_frame(publisher.sent))
    compare.assert_delivered(player.media(), publisher.sent, whole=True)


def _accepted(address):
    try:
        with Connection(address, timeout=3) as connection:
            connection.connect("live")
            return True
    except (Closed, Refused, OSError, AssertionError):
        return False


@pytest.mark.parametrize("shards", [1, 4])
def test_session_limit(world, shards):
    """max_sessions: the limit holds, over all shards, and whoever leaves makes room."""
    proxy = world.proxy(max_sessions=6, shards=shards)
    world.origin([proxy])
    taken, refused = fill(proxy.rtmp, 30)
    assert len(taken) == 6 and refused
    taken.pop().close()
    poll(lambda: _accepted(proxy.rtmp), what="room for one")
    for connection in taken:
        connection.close()


def test_session_limit_of_all_protocols(world, tags):
    """One limit for all: each of the protocols takes of it, and finds none left."""
    proxy = world.proxy(max_sessions=4, shards=2, **UNHURRIED)
    address = net.reachable(proxy.ready_event["srt"])
    world.origin([proxy], server_id="plain")
    publisher = world.publisher(proxy.rtmp, name="s")
    publisher.put_all(tags[:20])
    by_srt = Stock(proxy, "with-srt")
    world.hold(RtcScript("with-rtc")).register(proxy)
    caller = srt.call(address, "#!::r=live/a,m=publish")
    RtcClient(proxy.http_api, "b", "whip").begin()
    viewer = world.hold(FlvViewer(proxy.http, "/live/s.flv"))
    assert viewer.status == 200
    poll(lambda: proxy.metrics().total("sluice_sessions") == 4, what="four sessions")  # counted when its first byte goes out

    with pytest.raises(srt.Refused) as refusal:
        srt.call(address, "#!::r=live/c,m=publish", connect_timeout=20000)
    assert refusal.value.reason == 1402
    assert RtcClient(proxy.http_api, "d", "whip").post().status_code == 503
    assert world.hold(FlvViewer(proxy.http, "/live/s.flv")).status == 503
    assert not _accepted(proxy.rtmp)
    refused = {proto: proxy.metrics().total("sluice_refused_total", proto=proto, reason="too_many_sessions") for proto in ("srt", "rtc", "rtmp")}
    assert refused.pop("srt") >= 1  # libsrt asks again until it is answered
    assert refused == {"rtc": 1, "rtmp": 1}

    caller.close()
    poll(lambda: _accepted(proxy.rtmp), what="room for a client of another protocol")
    by_srt.close()


def test_capacity_of_an_origin(world, tags):
    """An origin above its hard capacity refuses publishers; the next one gets them."""
    proxy = world.proxy()
    world.origin([proxy], server_id="small", capacity=1)
    for number in range(2):
        try:
            world.publisher(proxy.rtmp, name=f"s{number}").put_all(tags[:5])
        except Refused as refusal:
            assert number == 1 and refusal.code.startswith("NetStream.Publish.")
            break
    else:
        pytest.fail("an origin of capacity 1 took two publishers")
    world.origin([proxy], server_id="second")
    poll(lambda: _publishes(world, proxy, tags), what="publish at the second origin", every=0.2)


def _publishes(world, proxy, tags):
    try:
        world.publisher(proxy.rtmp, name="more").put_all(tags[:5])
        return True
    except Refused:
        return False


@pytest.mark.parametrize("relay", RELAYS)
def test_viewer_that_stops_reading_for_a_while(world, relay):
    """Row 16: it misses frames, goes on at a keyframe, and gets nothing half, twice or out of order; a viewer beside it misses nothing."""
    patience = {"player_stall": "10m"}
    proxy = world.proxy(relay=relay, **patience)
    origin = world.origin([proxy], player_queue_bytes=1 << 20, **patience)
    frames = media.heavy(frames=2000, gop=20, frame_bytes=20000)  # 40 MB
    publisher = world.publisher(proxy.rtmp, name="s")
    publisher.put_all(frames[:30])
    slow = world.player(proxy.rtmp, name="s", receive_buffer=16384)
    slow.await_packet(frames[29].packet)
    good = world.player(proxy.rtmp, name="s")
    slow.foreground()
    for at in range(30, len(frames), 50):  # in steps that the good viewer follows
        publisher.put_all(frames[at:at + 50])
        good.await_packet(frames[min(at + 49, len(frames) - 1)].packet)
    compare.assert_delivered(good.media(), frames, who="good viewer")

    slow.background()
    more = media.heavy(frames=60, gop=20, frame_bytes=2000, start=100000)
    publisher.put_all(more)
    slow.await_packet(compare.last_frame(more))
    assert_gaps_end_at_keyframes(slow.media(), [*frames, *more])
    assert len(slow.media()) < len(frames), "40 MB were kept for a viewer who did not read"
    slow.close()
    poll(lambda: sum(server.metrics().total("sluice_dropped_frames_total") for server in (proxy, origin)) > 0, what="counted drops")


def assert_gaps_end_at_keyframes(got, published):
    """Every packet was published, in that order, none twice; after each gap comes a keyframe first."""
    order = {p: n for n, p in enumerate(compare.frames(published))}
    last = None
    for message in got:
        if flv.is_sequence_header(message.type, message.payload):
            continue
        number = order[flv.Packet(message.type, message.timestamp, message.digest)]
        if last is not None:
            assert number > last, f"packet {number} after {last}"
            if number != last + 1:
                assert flv.is_keyframe(message.type, message.payload), f"a gap from {last} ends at {number}, which is no keyframe"
        last = number


@pytest.mark.parametrize("at", ["origin", *RELAYS])
def test_viewer_that_never_reads_is_closed(world, at):
    """Row 16: after player_stall without a byte taken the connection is closed, with a reason in log and metrics."""
    server = world.origin(player_stall="1s", player_queue_bytes=1 << 20) if at == "origin" else world.proxy(player_stall="1s", relay=at)
    if at != "origin":
        world.origin([server])
    publisher = world.publisher(server.rtmp, name="s")
    publisher.put_all(media.heavy(frames=10, gop=10, frame_bytes=1000))
    stalled = world.player(server.rtmp, name="s", receive_buffer=4096)
    stalled.foreground()
    port = stalled.sock.getsockname()[1]
    publisher.pace(media.heavy(frames=2000, gop=25, frame_bytes=40000, start=1000), speed=8)
    end = server.await_event("session_end", kind="play", peer=f"127.0.0.1:{port}")
    assert "stall" in end["reason"] or "slow" in end["reason"], end
    publisher.halt()


@pytest.mark.parametrize("relay", RELAYS)
def test_thousand_viewers_that_do_not_read(world, relay):
    """Row 39, scaled: process and kernel memory stay bounded per viewer (20,000 must fit into 3 GB where a stream is pulled once; a
    viewer relayed alone holds a second connection with its buffers), and another viewer loses nothing."""
    viewers, bytes_max = (1000, 150 << 10) if relay == "collapse" else (300, 1 << 20)
    proxy = world.proxy(relay=relay)
    origin = world.origin([proxy])
    publisher = world.publisher(proxy.rtmp, name="s")
    publisher.put_all(media.heavy(frames=2, gop=1, frame_bytes=500))
    good = world.player(proxy.rtmp, name="s")
    stalled = []
    try:
        for _ in range(viewers):
            viewer = Player(proxy.rtmp, "live", "s", receive_buffer=4096)
            stalled.append(viewer.foreground())
        processes = (proxy.pid, origin.pid)
        ports = [net.split_address(server.rtmp)[1] for server in (proxy, origin)]
        before = sum(map(resident_bytes, processes)) + net.kernel_tcp_bytes(*ports)
        frames = media.heavy(frames=500, gop=25, frame_bytes=16000, start=1000)  # 8 MB, half a minute at 2 Mb/s
        for at in range(0, len(frames), 25):
            publisher.put_all(frames[at:at + 25])
            good.await_packet(frames[min(at + 24, len(frames) - 1)].packet)
        grown = sum(map(resident_bytes, processes)) + net.kernel_tcp_bytes(*ports) - before
        per_viewer = grown / viewers
        print(f"{relay}: {grown / 1e6:.0f} MB for {viewers} stalled viewers, {per_viewer / 1e3:.0f} KB each")
        shared = 64 << 20  # what one stream may keep, however many look at it
        assert grown - shared < MEMORY_FACTOR * viewers * bytes_max, f"{per_viewer / 1e3:.0f} KB per stalled viewer"
        compare.assert_delivered([m for m in good.media() if m.timestamp >= 1000], frames, whole=True, who="good viewer")
    finally:
        for viewer in stalled:
            viewer.close()
    poll(lambda: proxy.metrics().total("sluice_sessions") <= 2, what="the stalled viewers' sessions to end", timeout=30)


def test_descriptor_limit_is_raised(world):
    """The soft limit is raised to the hard one, and the log says which it is."""
    def setup():
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 512))
    proxy = world.proxy(setup=setup)
    with open(f"/proc/{proxy.pid}/limits") as limits:
        line = next(line for line in limits if line.startswith("Max open files"))
    assert line.split()[3:5] == ["512", "512"]
    assert "512" in proxy.output
