"""HTTP-FLV and HTTP-TS of an origin and through a proxy: every packet as it was published; answers, crowds, and those who misbehave."""
import subprocess

import pytest

from lib import audit, compare, enhanced, flv, media, net, tscheck
from lib.clients import Publisher
from lib.http_live import FlvViewer, HttpViewer, TsViewer
from lib.live import Content, LivePublisher, entries
from lib.process import run_tool
from lib.recorded import hashes, is_stretch, probe
from lib.sluice import UNHURRIED, cluster_state, get
from lib.waiting import poll

TS_OFFSET = 90_000  # what the bridge adds to every timestamp
UNITS = "filter_units=remove_types=7-9"


@pytest.fixture(scope="module")
def pair(shared_world):
    """A proxy and its only origin: (proxy, origin)."""
    proxy = shared_world.proxy(play_wait="1s", **UNHURRIED)
    return proxy, shared_world.origin([proxy])


def live(world, pair, name, **content):
    """A running publisher."""
    return world.hold(LivePublisher(pair[0].rtmp, "live", name, Content(name, **content))).go()


def flv_of(world, server, name, query="", **options):
    return world.hold(FlvViewer(server.http, f"/live/{name}.flv{query}", **options))


def ts_of(world, server, name, **options):
    return world.hold(TsViewer(server.http, f"/live/{name}.ts", **options))


def finish(publisher, *viewers):
    last = publisher.freeze().last_sent()
    for viewer in viewers:
        viewer.await_seen(last)
    return last


def await_last_picture(publisher, stream, viewer):
    """Of a TS: the payloads hold name/number/."""
    viewer.await_contains(f"{stream}/{publisher.last_picture()}/".encode())


def read_ts(viewer):
    """What came so far, without a packet that is cut."""
    data = bytes(viewer.data)
    return data[:len(data) - len(data) % 188]


def check_ts(viewer, published):
    """A TS of what was published: strict rules, and each frame once, at its time. The number of pictures."""
    stream = tscheck.check(read_ts(viewer))
    counts = []
    for kinds, tag in (((tscheck.H264, tscheck.HEVC), flv.VIDEO), ((tscheck.AAC,), flv.AUDIO)):
        want = [TS_OFFSET + e.timestamp * 90 for e in published if e.type == tag and e.role != "header"]
        have = [u.dts for u in stream.of(*kinds)]
        begin = want.index(have[0])
        assert have == want[begin:begin + len(have)], f"type {tag}"
        counts.append(len(have))
    assert stream.discontinuities == 0
    return counts[0]


# -- what comes

def test_flv_is_what_was_published(world, pair, server, stream):
    publisher = live(world, pair, stream)
    publisher.await_sent_more(5)
    first = flv_of(world, server, stream)
    assert first.status == 200 and first.headers["content-type"] == "video/x-flv"
    assert first.headers["access-control-allow-origin"] == "*" and "content-length" not in first.headers
    first.await_count(20)
    late = flv_of(world, server, stream)
    player = flv_of(world, server, stream, query="?token=t&vhost=__defaultVhost__")
    publisher.await_sent_more(60)
    finish(publisher, first, late, player)
    for viewer in (first, late, player):
        assert viewer.flags == 5, "audio and video"
        audit.assert_exact(viewer.seen, publisher.published(), viewer.name)
        heads = [e for e in viewer.seen if e.role == "header"]
        assert len(heads) == 3 and viewer.seen[:3] == heads, "headers once, and first"


def test_ts_is_what_was_published(world, pair, server, stream):
    publisher = live(world, pair, stream)
    publisher.await_sent_more(5)
    first = ts_of(world, server, stream)
    assert first.status == 200 and first.headers["content-type"] == "video/mp2t"
    first.await_bytes(20_000)
    late = ts_of(world, server, stream)
    publisher.await_sent_more(60)
    publisher.freeze()
    for viewer in (first, late):
        await_last_picture(publisher, stream, viewer)
        assert check_ts(viewer, publisher.published()) > 20


def test_enhanced_codecs_stay_in_flv(world, pair, server, stream):
    tags = enhanced.codec_stream("av01", enhanced.AV1C, "fLaC", enhanced.FLAC_HEAD)
    publisher = world.publisher(pair[0].rtmp, "live", stream).put_all(tags[:10])
    viewer = flv_of(world, server, stream, keep_tags=True)
    viewer.await_count(5)
    publisher.put_all(tags[10:])
    viewer.wait(lambda: viewer.tags[-1].packet == tags[-1].packet, what="the last tag")
    compare.assert_delivered(viewer.tags, tags, whole=True)


def test_ts_of_codecs_that_it_cannot_carry(world, pair, server, stream):
    tags = enhanced.codec_stream("av01", enhanced.AV1C, "fLaC", enhanced.FLAC_HEAD)
    world.publisher(pair[0].rtmp, "live", stream).put_all(tags[:20])
    flv_of(world, server, stream).await_count(3)
    refused = ts_of(world, server, stream)
    assert refused.status == 415 and "AV1" in refused.await_body().decode()
    assert refused.headers["access-control-allow-origin"] == "*"
    server.await_event("session_refused", status=415, stream=lambda s: s.endswith("/" + stream))


def test_ts_leaves_out_what_it_cannot_carry(world, pair, server, stream):
    tags = enhanced.codec_stream("vp09", enhanced.VPCC, "Opus", enhanced.OPUS_HEAD)
    publisher = world.publisher(pair[0].rtmp, "live", stream).put_all(tags[:20])
    flv_of(world, server, stream).await_count(3)
    viewer = ts_of(world, server, stream)
    assert viewer.status == 200
    server.await_event("tracks_left_out", stream=lambda s: s.endswith("/" + stream), codecs="video VP9")
    publisher.put_all(tags[20:])
    sound = [t.payload[5:] for t in tags if t.type == flv.AUDIO][1:]
    viewer.await_contains(sound[-1][:40])
    got = [tscheck.opus_packets(u.payload) for u in tscheck.check(read_ts(viewer)).of(tscheck.PRIVATE)]
    assert len(got) > 20 and got == [[one] for one in sound[-len(got):]]


# -- real players

@pytest.fixture(scope="module")
def long_clip():
    return media.clip(seconds=40, tone=500)


def paced(world, pair, stream, path):
    """The clip, published at its own pace; an ffmpeg would do the same, but not say the same timestamps of its tags."""
    publisher = world.publisher(pair[0].rtmp, "live", stream)
    return publisher.pace(list(media.tags(path)))


def test_ffprobe_sees_the_packets_of_the_file(world, pair, server, stream, long_clip):
    paced(world, pair, stream, long_clip)
    flv_of(world, server, stream).await_count(5)
    want = probe(long_clip)
    got = probe(f"http://{server.http}/live/{stream}.flv", "-read_intervals", "%+#120")
    begin = want.index(got[0])
    assert len(got) == 120 and got == want[begin:begin + 120]
    got = probe(f"http://{server.http}/live/{stream}.ts", "-read_intervals", "%+#120")
    for kind in ("video", "audio"):
        times = [(p[1] - TS_OFFSET, p[2] - TS_OFFSET) for p in got if p[0] == kind]
        all_times = [(p[1], p[2]) for p in want if p[0] == kind]
        assert len(times) > 20 and times == all_times[all_times.index(times[0]):][:len(times)], kind


def test_ffmpeg_records(world, pair, server, stream, long_clip, tmp_path):
    publisher = paced(world, pair, stream, long_clip)
    flv_of(world, server, stream).await_count(5)
    recorders = {}
    for kind in ("flv", "ts"):
        path = str(tmp_path / f"out.{kind}")
        recorders[kind] = (world.ffmpeg("-i", f"http://{server.http}/live/{stream}.{kind}", "-c", "copy", "-flush_packets", "1", "-f",
                                        {"ts": "mpegts"}.get(kind, kind), path), path)
    for kind, (process, path) in recorders.items():
        # What ffmpeg read last it may hold for some packets: enough is enough.
        frames = poll(lambda: (lambda h: h if len(h) > 100 else None)(decoded(path)), timeout=60, what=f"100 pictures in {path}", every=0.2)
        assert process.alive, process.tail()
        assert is_stretch(frames[:100], hashes(long_clip, "-map", "0:v")), kind
    tags = entries(flv.read(recorders["flv"][1]))
    published = entries(media.tags(long_clip))
    publisher.halt()
    assert audit.same_payloads(tags, published, flv.VIDEO) > 100
    assert audit.same_payloads(tags, published, flv.AUDIO) > 100


def decoded(path):
    try:
        return hashes(path, "-map", "0:v")
    except (subprocess.CalledProcessError, FileNotFoundError):
        return []


@pytest.mark.parametrize("kind, demuxer", [("flv", "flvdemux"), ("ts", "tsdemux")])
def test_gstreamer_plays(world, pair, server, stream, long_clip, kind, demuxer):
    paced(world, pair, stream, long_clip)
    flv_of(world, server, stream).await_count(5)
    code, said = run_tool(["gst-launch-1.0", "-q", "souphttpsrc", f"location=http://{server.http}/live/{stream}.{kind}", "!", demuxer, "name=d",
                           "d.", "!", "h264parse", "!", "fakesink", "sync=false", "num-buffers=60"])
    assert code == 0, said


# -- answers

def test_an_unknown_stream_is_404(world, pair, server, stream):
    for kind in ("flv", "ts"):
        answer = get(server.http, f"/live/{stream}.{kind}")
        assert answer.status_code == 404 and answer.json()["code"] == 404
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_a_viewer_may_wait_for_his_stream(world, stream):
    """At a proxy, for play_wait."""
    proxy = world.proxy(play_wait="20s")
    pair = (proxy, world.origin([proxy]))
    viewer = flv_of(world, proxy, stream, wait=False)
    poll(lambda: cluster_state(proxy.api)["waiting"] >= 1, what="the waiting viewer")
    publisher = live(world, pair, stream, gop_seconds=10)  # a pull that is late begins with the first packet, too
    publisher.await_sent_more(30)
    finish(publisher, viewer)
    audit.assert_exact(viewer.seen, publisher.published(), whole=True)


def test_options_head_and_other_methods(world, pair, server, stream):
    publisher = live(world, pair, stream)
    publisher.await_sent_more(5)
    target = f"/live/{stream}"
    options = HttpViewer(server.http, target + ".flv", method="OPTIONS", headers=[("Origin", "http://a.b")])
    assert options.status == 200 and options.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
    options.close()
    for kind, content in (("flv", "video/x-flv"), ("ts", "video/mp2t")):
        first = f"HEAD {target}.{kind} HTTP/1.1\r\nHost: {server.http}\r\n\r\n".encode()
        head = HttpViewer(server.http, f"{target}.{kind}", method="HEAD", headers=[("Connection", "close")], prefix=first)
        assert head.status == 200 and head.headers["content-type"] == content and "content-length" not in head.headers
        assert "connection" not in head.headers and "date" in head.headers
        again = head.await_close()
        assert again.startswith(b"HTTP/1.1 200 OK\r\n") and again.endswith(b"\r\n\r\n") and b"Connection: close\r\n" in again
        head.close()
        post = HttpViewer(server.http, f"{target}.{kind}", method="POST", headers=[("Content-Length", "0"), ("Connection", "close")])
        assert post.status == 405 and post.headers["allow"] == "GET, HEAD, OPTIONS"
        post.close()
    assert get(server.http, "/live/a%20%00b.flv").status_code == 400
    assert get(server.http, "/live/" + "x" * 3000 + ".flv").status_code == 400
    assert get(server.http, "/nothing").status_code == 404


def test_the_vhost_of_a_stream(world, pair, server, stream):
    """By Host, or by ?vhost=, which beats it."""
    connect = {"tc_url": f"rtmp://{pair[0].rtmp}/live?vhost=one.example.com"}
    publisher = world.hold(LivePublisher(pair[0].rtmp, "live", stream, Content(stream), **connect)).go()
    publisher.await_sent_more(5)
    for options in ({"query": "?vhost=one.example.com"}, {"host": "one.example.com:8080"}):
        viewer = flv_of(world, server, stream, **options)
        assert viewer.status == 200
        viewer.await_count(5)
    assert get(server.http, f"/live/{stream}.flv?vhost=two.example.com").status_code == 404


SMUGGLED = {
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "length and chunked": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding that is not known": b"Transfer-Encoding: xchunked\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an empty name": b": x\r\n\r\n",
    "a space before the colon": b"Content-Length : 5\r\n\r\nhello",
    "two hosts": b"Host: b\r\n\r\n",
    "a bare CR": b"X: a\rY: b\r\n\r\n",
    "a NUL": b"X: a\0b\r\n\r\n",
    "a minus in the length": b"Content-Length: -1\r\n\r\n",
}


@pytest.mark.parametrize("what", SMUGGLED)
def test_what_may_be_read_in_two_ways_is_refused(pair, server, what):
    mark = len(server.events)
    with net.connect(server.http) as sock:
        sock.sendall(b"GET /live/smuggled.flv HTTP/1.1\r\nHost: a\r\n" + SMUGGLED[what])
        answer = b""
        while data := sock.recv(4096):
            answer += data
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1") == 1
    server.await_event("http_refused", since=mark, reason="bad_request")
    assert not server.find("session_refused", since=mark), "it was taken for a request"


def test_headers_that_do_not_end(world, pair, server):
    """Row 12."""
    mark = len(server.events)
    with net.connect(server.http, timeout=20) as sock:
        sock.sendall(b"GET /live/slow.flv HTTP/1.1\r\nHost: a\r\nX-")
        assert sock.recv(100) == b""
    server.await_event("http_refused", since=mark, reason="header_timeout")


# -- crowds, and those who misbehave

def sessions(server, proto):
    return server.metrics().total("sluice_sessions", proto=proto)


def test_200_join_at_once(world, pair, stream):
    """Row 17: one pull at the origin, everybody starts at a keyframe."""
    proxy, origin = pair
    publisher = live(world, pair, stream)
    publisher.await_sent_more(20)
    mark = len(origin.events)
    viewers = [flv_of(world, proxy, stream, wait=False) for _ in range(150)]
    ts = [ts_of(world, proxy, stream, wait=False) for _ in range(50)]
    for viewer in viewers + ts:
        viewer.wait(lambda: viewer.status == 200, what="an answer")
    publisher.await_sent_more(40)
    finish(publisher, *viewers)
    published = publisher.published()
    for viewer in viewers:
        audit.assert_exact(viewer.seen, published, viewer.name)
    for viewer in ts:
        await_last_picture(publisher, stream, viewer)
        assert check_ts(viewer, published) > 20
    origin.await_event("session_start", since=mark, kind="play", stream=lambda s: s.endswith("/" + stream))
    pulls = [e for e in origin.find("session_start", since=mark, kind="play") if e["stream"].endswith("/" + stream)]
    assert len(pulls) == 1 and pulls[0]["proto"] == "rtmp"
    assert sessions(proxy, "http-flv") >= 150 and sessions(proxy, "http-ts") >= 50


def test_who_leaves_ends_the_pull(world, pair, stream):
    proxy, origin = pair
    publisher = live(world, pair, stream)
    publisher.await_sent_more(5)
    mark = len(origin.events)
    viewers = [flv_of(world, proxy, stream), ts_of(world, proxy, stream)]
    for viewer in viewers:
        viewer.wait(lambda: len(viewer.data) > 0 or getattr(viewer, "seen", []), what="media")
    ours = {"kind": "play", "stream": lambda s: s.endswith("/" + stream)}
    gone = ("client_closed", "client_reset")  # a reset, if something came that was not read
    origin.await_event("session_start", since=mark, **ours)
    assert len(origin.find("session_start", since=mark, **ours)) == 1
    before = len(proxy.events)
    for viewer in viewers:
        viewer.close()
    proxy.await_event("session_end", since=before, count=2, reason=lambda r: r in gone, **ours)
    origin.await_event("session_end", since=mark, **ours)


def test_who_leaves_before_his_answer(world, pair, stream):
    """While he waits for his stream nobody has an answer for him."""
    proxy, _ = pair
    viewer = flv_of(world, proxy, stream, wait=False)
    poll(lambda: proxy.metrics().total("sluice_sessions", proto="http-flv") >= 0, what="metrics")
    viewer.close()
    assert get(proxy.http, f"/live/{stream}.flv").status_code == 404


@pytest.mark.parametrize("at", ["origin", "proxy"])
@pytest.mark.parametrize("kind", ["flv", "ts"])
def test_who_never_reads_is_closed(world, stream, kind, at):
    """Row 16; nobody else notices."""
    server = world.proxy(player_stall="5s") if at == "proxy" else world.origin(player_stall="5s")
    if at == "proxy":
        world.origin([server])
    publisher = world.publisher(server.rtmp, "live", stream)
    frames = media.heavy(frames=500)
    publisher.put_all(frames[:30])
    other = flv_of(world, server, stream)
    stuck = world.hold(HttpViewer(server.http, f"/live/{stream}.{kind}", read=False, receive_buffer=4096))
    server.await_event("session_start", count=3, stream=lambda s: s.endswith("/" + stream))
    publisher.pace(frames[30:], speed=2.0, shift=0)
    end = server.await_event("session_end", reason="slow_reader")
    assert end["proto"] == f"http-{kind}"
    publisher.await_sent()
    other.wait(lambda: other.seen[-1].digest == flv.digest(frames[-1].payload), what="the last frame")
    audit.assert_exact(other.seen, entries(frames))
    assert server.metrics().total("sluice_refused_total", reason="slow_reader") == 1
    assert stuck.closed is None


def test_who_talks_is_closed(world, pair, server, stream):
    """A player has nothing more to say."""
    publisher = live(world, pair, stream)
    publisher.await_sent_more(5)
    viewer = flv_of(world, server, stream)
    viewer.await_count(4)
    mark = len(server.events)
    viewer.sock.setblocking(True)
    try:
        for _ in range(100):
            viewer.sock.sendall(bytes(4096))
    except OSError:
        pass
    server.await_event("session_end", since=mark, reason="unexpected_data")


def test_too_many_players(world, stream):
    origin = world.origin(max_sessions=4)
    publisher = world.hold(LivePublisher(origin.rtmp, "live", stream)).go()
    publisher.await_sent_more(5)
    first = [flv_of(world, origin, stream) for _ in range(3)]
    refused = flv_of(world, origin, stream)
    assert refused.status == 503 and "players" in refused.await_body().decode()
    first[0].close()
    poll(lambda: get_status(origin, stream) == 200, what="a free place")


def get_status(server, stream):
    viewer = FlvViewer(server.http, f"/live/{stream}.flv")
    viewer.close()
    return viewer.status


def test_a_stop_ends_the_viewers(world, stream):
    proxy = world.proxy(grace_quit_timeout="1s")
    origin = world.origin([proxy])
    publisher = world.hold(Publisher(proxy.rtmp, "live", stream))
    publisher.put_all(media.heavy(frames=30))
    viewers = [flv_of(world, proxy, stream), ts_of(world, proxy, stream), flv_of(world, origin, stream)]
    for viewer in viewers:
        assert viewer.status == 200
    assert proxy.stop() == 0
    assert origin.stop() == 0
    for viewer in viewers:
        viewer.await_close()
