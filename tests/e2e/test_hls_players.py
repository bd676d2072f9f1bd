"""HLS of Sluice's origins as players meet it, at the origin and through a proxy: who comes first, what cannot be carried, ffprobe, ffmpeg and GStreamer."""
import socket
import subprocess
import threading
import urllib.parse

import pytest
import requests

from lib import audit, enhanced, flv, media, net
from lib.http_origin import HttpOrigin
from lib.fake_origin import FakeOrigin
from lib.http_live import FlvViewer, HttpViewer, TsViewer
from lib.live import entries
from lib.process import run_tool
from lib.recorded import hashes, is_stretch, probe
from lib.sluice import UNHURRIED, register, registration
from lib.waiting import poll

# Of MPEG-TS: parameter sets and delimiters that the bridge adds.
UNITS = "filter_units=remove_types=7-9"


@pytest.fixture(scope="module")
def pair(shared_world):
    """A proxy and its only origin: (proxy, origin)."""
    proxy = shared_world.proxy(play_wait="10s", **UNHURRIED)
    return proxy, shared_world.origin([proxy])


@pytest.fixture(scope="module")
def long_clip():
    return media.clip(seconds=12, tone=500)


def paced(world, pair, stream, path):
    return world.publisher(pair[0].rtmp, "live", stream).pace(list(media.tags(path)))


def get(server, target, **options):
    return requests.get(f"http://{server.http}{target}", timeout=30, **options)


def uris(text):
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def await_segments(server, stream, count=1, query=""):
    """The URL of the media playlist once it lists so many."""
    master = f"http://{server.http}/live/{stream}.m3u8{query}"
    first = requests.get(master, timeout=30)
    assert first.status_code == 200, first.text
    url = urllib.parse.urljoin(master, uris(first.text)[0])

    def listed():
        answer = requests.get(url, timeout=30)
        return answer.status_code == 200 and len(uris(answer.text)) >= count
    poll(listed, timeout=60, what=f"{count} segments", every=0.1)
    return url


# -- who comes first

@pytest.mark.parametrize("turn", range(3))
def test_a_player_may_wait_for_his_stream(world, pair, stream, long_clip, turn):
    """At a proxy: the publisher's arrival does not turn him away."""
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(get(pair[0], f"/live/{stream}.m3u8")))
    sock = net.connect(pair[0].http)
    sock.sendall(f"GET /live/{stream}.m3u8?second HTTP/1.1\r\nHost: {pair[0].http}\r\nConnection: close\r\n\r\n".encode())
    waiter.start()
    paced(world, pair, stream, long_clip)
    waiter.join(60)
    assert [a.status_code for a in answers] == [200], answers and answers[0].text
    sock.settimeout(30)
    assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
    sock.close()


def test_a_stream_that_does_not_come_is_404(world, stream):
    proxy = world.proxy(play_wait="500ms")
    world.origin([proxy])
    assert get(proxy, f"/live/{stream}.m3u8").status_code == 404


# -- what cannot be carried

G711 = [flv.Tag(flv.AUDIO, at, b"\x72" + bytes([at // 20 % 256]) * 160) for at in range(0, 16000, 20)]


def test_hls_of_which_nothing_can_be_carried_is_415(world, pair, server, stream):
    world.publisher(pair[0].rtmp, "live", stream).pace(G711, speed=2, loops=10)
    for query in ("", "?media=auto", "?hls=fmp4"):
        answer = get(server, f"/live/{stream}.m3u8{query}")
        assert answer.status_code == 415 and "G711A" in answer.text, (query, answer.text)
        assert answer.headers["Access-Control-Allow-Origin"] == "*" and answer.headers["Cache-Control"] == "no-cache"


def test_hls_carries_vp9_in_fmp4_alone(world, pair, server, stream):
    tags = enhanced.codec_stream("vp09", enhanced.VPCC, "Opus", enhanced.OPUS_HEAD, frames=5000)
    video = [t for t in tags if t.type == flv.VIDEO]
    world.publisher(pair[0].rtmp, "live", stream).pace(video, speed=2)
    url = await_segments(server, stream, 2)
    text = requests.get(url, timeout=30).text
    init = requests.get(urllib.parse.urljoin(url, text.partition('#EXT-X-MAP:URI="')[2].partition('"')[0]), timeout=30).content
    assert b"vp09" in init and b"vpcC" + enhanced.VPCC in init
    body = b"".join(requests.get(urllib.parse.urljoin(url, uri), timeout=30).content for uri in uris(text))
    frames = [t.payload[5:] for t in video[1:]]
    begin = next(n for n, frame in enumerate(frames) if frame in body)
    assert b"".join(frames[begin:begin + 50]) in body, "whole, in order, and nothing between"
    refused = get(server, f"/live/{stream}.m3u8?hls=ts")
    assert refused.status_code == 415 and "video VP9" in refused.text
    pair[1].await_event("tracks_left_out", proto="hls", stream=lambda s: s.endswith("/" + stream), codecs="video VP9", format="ts")


def test_hls_says_which_tracks_it_leaves_out(world, pair, server, stream):
    tags = media.heavy(frames=400, frame_bytes=1000) + G711
    world.publisher(pair[0].rtmp, "live", stream).pace(sorted(tags, key=lambda t: t.timestamp), speed=2)
    await_segments(server, stream)
    mine = {"proto": "hls", "stream": lambda s: s.endswith("/" + stream)}
    pair[1].await_event("tracks_left_out", codecs="audio G711A", **mine)
    assert len(pair[1].find("tracks_left_out", **mine)) == 1


# -- URLs

@pytest.mark.parametrize("name", ["cam-20261126210000", "cam-2026112621", "cam-1795728000"])
def test_a_stream_that_is_called_like_a_segment(world, pair, server, stream, name, long_clip):
    name = f"{stream[-20:]}-{name}"
    paced(world, pair, name, long_clip)
    world.hold(FlvViewer(server.http, f"/live/{name}.flv")).await_count(5)
    viewer = world.hold(TsViewer(server.http, f"/live/{name}.ts"))
    assert viewer.status == 200 and viewer.headers["content-type"] == "video/mp2t"
    viewer.await_bytes(20_000)
    # Its own segments are segments, also where they are no more.
    url = await_segments(server, name)
    segment = urllib.parse.urljoin(url, uris(requests.get(url, timeout=30).text)[0])
    assert requests.get(segment, timeout=30).headers["Cache-Control"].startswith("public")
    assert requests.get(segment.replace("-1", "-2"), timeout=30).status_code == 404


def test_targets_in_absolute_form(world, pair, server, stream, long_clip):
    """RFC 9112 section 3.2.2: a server MUST take them, and their authority for the Host."""
    connect = {"tc_url": f"rtmp://{pair[0].rtmp}/live?vhost=one.example.com"}
    world.publisher(pair[0].rtmp, "live", stream, **connect).pace(list(media.tags(long_clip)))
    for kind in ("flv", "ts", "m3u8"):
        viewer = world.hold(HttpViewer(server.http, f"http://one.example.com:8080/live/{stream}.{kind}", host="two.example.com"))
        assert viewer.status == 200, kind
    assert get(server, f"/live/{stream}.m3u8?hls=mp3").status_code in (400, 404)
    answer = get(server, f"/live/{stream}.m3u8?hls=mp3&vhost=one.example.com")
    assert answer.status_code == 400 and "hls is ts or fmp4" in answer.text


def test_http_1_0_without_a_host_through_a_proxy(world, stream):
    """To an origin that is none of ours, which wants one."""
    proxy = world.proxy(play_wait="500ms", **UNHURRIED)
    rtmp, web = FakeOrigin(), HttpOrigin()
    try:
        register(proxy.api, registration(rtmp.port, http=[str(web.port)])).raise_for_status()
        world.publisher(proxy.rtmp, "live", stream)
        with socket.create_connection(tuple(proxy.http.rsplit(":", 1))) as sock:
            sock.settimeout(30)
            sock.sendall(f"GET /live/{stream}.m3u8 HTTP/1.0\r\n\r\n".encode())
            assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
        assert web.asked[-1].headers["Host"] == f"127.0.0.1:{web.port}"
    finally:
        rtmp.close()
        web.close()


# -- real players

@pytest.mark.parametrize("form", ["ts", "fmp4"])
def test_ffprobe_sees_the_packets_of_the_file(world, pair, server, stream, long_clip, form):
    paced(world, pair, stream, long_clip)
    await_segments(server, stream, 2, f"?hls={form}")
    want = probe(long_clip)
    got = probe(f"http://{server.http}/live/{stream}.m3u8?hls={form}", "-read_intervals", "%+#120")
    for kind in ("video", "audio"):
        mine, all_of_it = [p for p in got if p[0] == kind], [p for p in want if p[0] == kind]
        assert len(mine) > 20
        if form == "fmp4":  # the bytes are the publisher's; MPEG-TS has them in another form
            begin = [p[3:] for p in all_of_it].index(mine[0][3:])
            assert [p[3:] for p in mine] == [p[3:] for p in all_of_it[begin:begin + len(mine)]], kind
        else:
            begin = [p[1] for p in all_of_it].index(mine[0][1] - 90_000)
        shifts = [have[1] - said[1] for have, said in zip(mine, all_of_it[begin:])]
        if kind == "video":
            assert set(shifts) == {90_000 if form == "ts" else shifts[0]}, "each picture at its time"
        assert max(shifts) - min(shifts) <= 5 * 90, "sound runs at its own rate, within 5 ms"


@pytest.mark.parametrize("form", ["ts", "fmp4"])
def test_ffmpeg_records_what_was_published(world, pair, server, stream, long_clip, tmp_path, form):
    """Packet by packet: a copy of what the playlist gives is a stretch of what was sent, byte for byte."""
    publisher = paced(world, pair, stream, long_clip)
    await_segments(server, stream, 1)
    path = str(tmp_path / "out.flv")
    code, said = run_tool(["ffmpeg", "-v", "error", "-nostdin", "-i", f"http://{server.http}/live/{stream}.m3u8?hls={form}", "-t", "5", "-c", "copy",
                           *(["-bsf:v", UNITS] if form == "ts" else []), "-f", "flv", path])
    assert code == 0, said
    # ffmpeg ends with a tag of its own (AVC end of sequence).
    got, published = entries(t for t in flv.read(path) if t.type != flv.VIDEO or t.payload[1] != 2), entries(media.tags(long_clip))
    assert audit.same_payloads(got, published, flv.VIDEO) > 100
    assert audit.same_payloads(got, published, flv.AUDIO) > 150
    times = {e.digest: e.timestamp for e in published if e.type == flv.VIDEO}
    assert len({times[e.digest] - e.timestamp for e in got if e.type == flv.VIDEO and e.role != "header"}) == 1, "one shift for all pictures"
    publisher.halt()


def test_gstreamer_gets_every_picture(world, pair, server, stream, long_clip, tmp_path):
    paced(world, pair, stream, long_clip)
    await_segments(server, stream, 1)
    path = str(tmp_path / "out.h264")
    player = world.start(["gst-launch-1.0", "-q", "souphttpsrc", f"location=http://{server.http}/live/{stream}.m3u8", "!", "hlsdemux", "!", "tsdemux", "!",
                          "h264parse", "!", "video/x-h264,stream-format=byte-stream,alignment=au", "!", "filesink", "buffer-mode=unbuffered",
                          f"location={path}"])

    def pictures():
        assert player.alive, player.tail()
        try:
            return hashes(path)[:100]
        except (subprocess.CalledProcessError, FileNotFoundError):
            return []

    got = poll(lambda: (p := pictures()) and len(p) == 100 and p, timeout=60, what="100 pictures", every=0.5)
    assert is_stretch(got, hashes(long_clip, "-map", "0:v"))
