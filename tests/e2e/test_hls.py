"""HLS through a proxy: origins that are not ours (scripted, as SRS, nginx), and ours at the end."""
import base64
import os
import random
import socket
import threading
import time
import urllib.parse

import pytest
import requests

from lib import m3u8check, net
from lib.fake_origin import FakeOrigin
from lib.http_origin import HttpOrigin
from lib.live import LivePublisher
from lib.process import Process
from lib.sluice import UNHURRIED, cluster_state, metrics, register, registration
from lib.waiting import poll


class Ground:
    """A proxy, and origins that take any publish and answer HTTP as they are told."""

    def __init__(self, world, count=1, answer=None, port=None, **options):
        self.world = world
        self.proxy = world.proxy(**{"play_wait": "500ms", **UNHURRIED, **options})
        self.http = self.proxy.ready_event["http"]
        self.rtmp = [FakeOrigin() for _ in range(count)]
        self.web = [] if port else [HttpOrigin(answer) for _ in range(count)]
        for number, fake in enumerate(self.rtmp):
            at = port or self.web[number].port
            register(self.proxy.api, registration(fake.port, server=f"o{number}", http=[str(at)])).raise_for_status()

    def get(self, path, **options):
        return requests.get(f"http://{self.http}{path}", timeout=20, **options)

    def asked(self):
        return [request for web in self.web for request in web.asked]

    def publish(self, name):
        return self.world.publisher(self.proxy.rtmp, "live", name)

    def close(self):
        for each in self.rtmp + self.web:
            each.close()


@pytest.fixture
def ground(world):
    made = []

    def make(*arguments, **options):
        made.append(Ground(world, *arguments, **options))
        return made[-1]
    yield make
    for each in made:
        each.close()


def spbhid(stream):
    return base64.urlsafe_b64encode(f"__defaultVhost__/live/{stream}".encode()).decode().rstrip("=")


def uris(text):
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_srs_playlists_are_personal_and_lead_back(ground, stream):
    g = ground()
    g.publish(stream)
    masters = [uris(g.get(f"/live/{stream}.m3u8?token=t%2F1").text) for _ in range(2)]
    assert masters == [[f"/live/{stream}.m3u8?hls_ctx=ctx{n}&spbhid={spbhid(stream)}"] for n in (1, 2)], "each viewer his own; the id is stable"
    media = uris(g.get(masters[0][0]).text)
    assert media == [f"{stream}-{n}.ts?hls_ctx=ctx1&spbhid={spbhid(stream)}" for n in (7, 8)]
    segment = g.get(urllib.parse.urljoin(masters[0][0], media[0]))
    assert segment.status_code == 200 and segment.content == f"{g.web[0].port} /live/{stream}-7.ts".encode()
    assert segment.headers["Content-Type"] == "video/MP2T"
    assert [r.path for r in g.asked()] == [f"/live/{stream}.m3u8?token=t%2F1"] * 2 + [
        f"/live/{stream}.m3u8?hls_ctx=ctx1", f"/live/{stream}-7.ts?hls_ctx=ctx1"], "without our parameter"


@pytest.mark.parametrize("trusted", [False, True])
def test_headers_of_viewers(ground, stream, trusted):
    g = ground(trusted_networks="127.0.0.0/8" if trusted else "10.0.0.0/8")
    g.publish(stream)
    g.get(f"/live/{stream}.m3u8", headers={"X-Forwarded-For": "1.2.3.4", "X-Real-IP": "5.6.7.8", "X-Mine": "1", "Connection": "X-Gone", "X-Gone": "1"})
    headers = g.asked()[-1].headers
    assert headers.get_all("X-Forwarded-For") == ["1.2.3.4, 127.0.0.1" if trusted else "127.0.0.1"]
    assert headers.get_all("X-Real-IP") == ["1.2.3.4" if trusted else "127.0.0.1"]
    assert headers["X-Mine"] == "1" and "X-Gone" not in headers


def test_a_stream_that_is_not_there(ground, stream):
    g = ground()
    assert g.get(f"/live/{stream}.m3u8").status_code == 404
    assert g.get(f"/live/{stream}-3.ts?spbhid={spbhid(stream)}").status_code == 404
    assert g.get(f"/live/{stream}-3.ts?spbhid=no_such_id").status_code == 404
    assert g.get("/.m3u8").status_code == 400
    assert not g.asked()
    poll(lambda: len([e for e in g.proxy.events if e["event"] == "session_refused" and e["proto"] == "hls"]) == 3, what="three log lines")


def test_connections_to_an_origin_are_kept(ground, stream):
    g = ground()
    g.publish(stream)
    for number in range(20):
        assert g.get(f"/live/{stream}-{number}.ts?spbhid={spbhid(stream)}").status_code == 200
    assert len({r.peer for r in g.asked()}) <= 2, "one a shard"


def test_a_viewer_that_leaves_ends_the_request(ground, stream):
    gone, begun = threading.Event(), threading.Event()

    def answer(request):
        begun.set()
        request.connection.settimeout(20)
        if request.connection.recv(1) == b"":
            gone.set()
        return 404, [], b""
    g = ground(answer=answer)
    g.publish(stream)
    viewer = socket.create_connection(tuple(g.http.rsplit(":", 1)))
    viewer.sendall(f"GET /live/{stream}.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert begun.wait(20)
    viewer.close()
    assert gone.wait(20), "the origin is told"


def viewers_of(api, stream):
    return cluster_state(api)["streams"][f"__defaultVhost__/live/{stream}"]["viewers"]


def test_viewers_with_sessions_are_counted(ground, stream):
    """However many are behind one address: by the hls_ctx that SRS gives them."""
    g = ground()
    g.publish(stream)
    for _ in range(3):
        master = uris(g.get(f"/live/{stream}.m3u8").text)[0]
        for _ in range(2):
            media = uris(g.get(master).text)
        g.get(f"/live/{media[0]}", headers={"User-Agent": "other"})
    assert viewers_of(g.proxy.api, stream) == 3
    assert g.proxy.metrics().total("sluice_hls_viewers") == 3


def test_public_segments_are_shared_and_outlive_their_origin(ground, stream):
    g = ground(answer=lambda r: (200, [("Cache-Control", "public, max-age=60"), ("ETag", '"e"')], b"public bytes"))
    g.publish(stream)
    url = f"/live/{stream}-1.ts?spbhid={spbhid(stream)}"
    for _ in range(5):
        answer = g.get(url)
        assert answer.content == b"public bytes" and answer.headers["ETag"] == '"e"'
    assert len(g.asked()) == 1
    for each in g.rtmp + g.web:
        each.close()
    assert g.get(url).content == b"public bytes"


# -- nginx as an HTTP origin

NGINX = """
daemon off; master_process off; worker_processes 1; error_log stderr info; pid {folder}/nginx.pid;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/t; proxy_temp_path {folder}/t; fastcgi_temp_path {folder}/t; uwsgi_temp_path {folder}/t;
  scgi_temp_path {folder}/t; types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}
  server {{
    listen 127.0.0.1:{port}; root {folder}/root; add_header X-Origin nginx always;
    location ~ moved {{ return 302 /live/elsewhere.ts; }}
    location ~ broken {{ return 503; }}
    location ~ empty {{ return 204; }}
  }}
}}
"""


@pytest.fixture
def nginx(world, stream, ground):
    folder, port = os.path.join(world.folder, "web"), net.free_port()
    os.makedirs(f"{folder}/root/live")
    with open(f"{folder}/nginx.conf", "w") as file:
        file.write(NGINX.format(folder=folder, port=port))
    with open(f"{folder}/root/live/{stream}-1.ts", "wb") as file:
        file.write(bytes(range(256)) * 4000)
    with open(f"{folder}/root/live/{stream}.m3u8", "w") as file:
        file.write(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{stream}-1.ts\n#EXTINF:2,\nhttp://127.0.0.1:{port}/live/{stream}-2.ts\n"
                   "#EXTINF:2,\nhttp://cdn.example/a.ts\n")
    world.own(Process(["nginx", "-c", f"{folder}/nginx.conf", "-p", folder, "-e", "stderr"], "nginx")).await_line("epoll|start worker|Linux")
    g = ground(port=port)
    g.publish(stream)
    g.direct = f"http://127.0.0.1:{port}"
    return g


def test_nginx_answers_pass_through(nginx, stream):
    target = f"/live/{stream}-1.ts"
    id_ = f"?spbhid={spbhid(stream)}"
    tag = requests.get(nginx.direct + target).headers["ETag"]
    for headers in ({}, {"Range": "bytes=10-19"}, {"Range": "bytes=-5"}, {"Range": "bytes=99999999-"}, {"If-None-Match": tag},
                    {"If-Range": tag, "Range": "bytes=0-0"}, {"If-Range": '"other"', "Range": "bytes=0-0"}):
        expected, got = requests.get(nginx.direct + target, headers=headers), nginx.get(target + id_, headers=headers)
        assert (got.status_code, got.content) == (expected.status_code, expected.content), headers
        for name in ("Content-Type", "Content-Range", "ETag", "Last-Modified", "X-Origin", "Content-Length"):
            assert got.headers.get(name) == expected.headers.get(name), (headers, name)
    moved = nginx.get(f"/live/moved.ts{id_}", allow_redirects=False)
    assert (moved.status_code, urllib.parse.urlsplit(moved.headers["Location"]).query) == (302, id_[1:])
    assert nginx.get(f"/live/broken.ts{id_}").status_code == 503
    empty = nginx.get(f"/live/empty.ts{id_}")
    assert (empty.status_code, empty.content) == (204, b"")
    assert nginx.get(f"/live/nothing.ts{id_}").status_code == 404
    assert nginx.get(f"/live/..%2f..%2fetc.ts{id_}").status_code in (400, 404)


def test_nginx_is_asked_head_by_who_asks_head(nginx, stream):
    """What nginx says to HEAD comes back, the length, too; but of playlists, which are longer here by our ids."""
    target, id_ = f"/live/{stream}-1.ts", f"?spbhid={spbhid(stream)}"
    tag = requests.get(nginx.direct + target).headers["ETag"]
    with requests.Session() as viewer:  # whose connection goes on
        for path, headers in ((target, {}), (target, {"Range": "bytes=10-19"}), (target, {"If-None-Match": tag}), ("/live/nothing.ts", {}),
                              ("/live/broken.ts", {}), ("/live/empty.ts", {}), ("/live/moved.ts", {}), (f"/live/{stream}.m3u8", {})):
            expected = requests.head(nginx.direct + path, headers=headers)
            got = viewer.head(f"http://{nginx.http}{path}{id_}", headers=headers, timeout=20)
            assert (got.status_code, got.content) == (expected.status_code, b""), (path, headers)
            for name in ("Content-Type", "Content-Range", "ETag", "Last-Modified", "X-Origin"):
                assert got.headers.get(name) == expected.headers.get(name), (path, headers, name)
            length = None if path.endswith(".m3u8") else expected.headers.get("Content-Length")
            assert got.headers.get("Content-Length") == length, (path, headers)
            assert viewer.get(f"http://{nginx.http}{target}{id_}", timeout=20).content == bytes(range(256)) * 4000


def test_nginx_playlist_leads_back_whole_and_plain(nginx, stream):
    got = nginx.get(f"/live/{stream}.m3u8", headers={"Range": "bytes=0-5", "Accept-Encoding": "gzip"})
    assert got.status_code == 200
    assert uris(got.text) == [f"{stream}-1.ts?spbhid={spbhid(stream)}", f"/live/{stream}-2.ts?spbhid={spbhid(stream)}", "http://cdn.example/a.ts"]


# -- with origins of ours

def media_playlist(http, stream):
    master = requests.get(f"http://{http}/live/{stream}.m3u8?token=a", timeout=30)
    assert master.status_code == 200, master.text
    variant = uris(master.text)[0]
    assert "token=a" in variant
    return urllib.parse.urljoin(f"http://{http}/live/", variant)


def test_ours_are_asked_once_for_all(world, stream):
    cluster = world.run(origins=2)
    world.hold(LivePublisher(cluster.rtmp, "live", stream)).go()
    url = media_playlist(cluster.http, stream)
    playlist = requests.get(url, timeout=30)
    checker = m3u8check.Checker()
    segments = [s.uri for s in checker.check(playlist.text).segments]
    assert segments and not any("spbhid" in uri for uri in segments)
    first = requests.get(urllib.parse.urljoin(url, segments[-1]), timeout=30)
    assert first.status_code == 200 and "immutable" in first.headers["Cache-Control"]
    before = cluster.metrics().total("sluice_hls_requests_total", **{"from": "cache"})
    for _ in range(5):
        again = requests.get(urllib.parse.urljoin(url, segments[-1]) + "?viewer=1", headers={"Range": "bytes=0-187"}, timeout=30)
        assert again.status_code == 206 and again.content == first.content[:188]
    assert cluster.metrics().total("sluice_hls_requests_total", **{"from": "cache"}) >= before + 5
    assert cluster.metrics().total("sluice_hls_cached_bytes") >= len(first.content)


def test_ours_count_their_viewers(world, stream):
    """Who gets playlists is a viewer, also of a stream's shard that is not the one of his connection; segments count nobody."""
    proxy = world.proxy(shards=2)
    world.origin([proxy])
    world.hold(LivePublisher(proxy.rtmp, "live", stream)).go()
    url = media_playlist(proxy.http, stream)  # one viewer
    for number in range(6):
        assert requests.get(url, headers={"User-Agent": f"viewer {number % 3}"}, timeout=30).status_code == 200
    segment = urllib.parse.urljoin(url, uris(requests.get(url, headers={"User-Agent": "viewer 0"}, timeout=30).text)[-1])
    assert requests.get(segment, headers={"User-Agent": "segments only"}, timeout=30).status_code == 200
    assert viewers_of(proxy.api, stream) == 4
    assert proxy.metrics().total("sluice_hls_viewers") == 4
    assert proxy.metrics().total("sluice_hls_viewers_uncounted_total") == 0


def test_ours_go_on_after_a_kill(world, stream):
    """faults.md, HLS: 200 for every request; numbers never step back; a gap of one target duration at most."""
    proxy = world.proxy()
    origins = [world.origin([proxy], server_id=f"o{n}") for n in range(2)]
    http = proxy.ready_event["http"]
    world.hold(LivePublisher(proxy.rtmp, "live", stream)).go()
    url = media_playlist(http, stream)
    checker = m3u8check.Checker()

    def look():
        answer = requests.get(url, timeout=30)
        assert answer.status_code == 200, answer.text
        return checker.check(answer.text)

    before = poll(lambda: (p := look()) and len(p.segments) >= 3 and p, timeout=60, what="window", every=0.2)
    # It is kept from now on: a listed segment that nobody has fetched would become a gap.
    assert requests.get(urllib.parse.urljoin(url, before.segments[-1].uri), timeout=30).status_code == 200
    next(o for o in origins if metrics(o.api).total("sluice_hls_channels") > 0).kill()
    newest = before.segments[-1].number
    after = poll(lambda: (p := look()) and p.segments[-1].number >= newest + 3 and p, timeout=60, what="segments of the next origin", every=0.2)
    assert len(after.segments) >= 3
    assert "hls_moved" in [e["event"] for e in proxy.events]
    gaps = [s for s in checker.known.values() if s.gap]
    assert len(gaps) <= 1, gaps
    for s in after.segments:
        if not s.gap:
            assert requests.get(urllib.parse.urljoin(url, s.uri), timeout=30).status_code == 200, s


def test_ours_go_on_when_the_publisher_returns(world, stream):
    """RFC 8216 §6.2.2: what players have not had yet stays listed, and the next publication's segments follow it, behind a discontinuity."""
    cluster = world.run(origins=2)
    first = world.hold(LivePublisher(cluster.rtmp, "live", stream)).go()
    url, checker = media_playlist(cluster.http, stream), m3u8check.Checker()

    def look():
        answer = requests.get(url, timeout=30)
        assert answer.status_code == 200, answer.text
        return checker.check(answer.text)

    for publisher in (first, None):
        before = poll(lambda: (p := look()) and p.duration >= 3 * p.target and p, timeout=60, what="window", every=0.2)
        mark = len(cluster.events)
        (publisher or second).freeze().close()
        for role in ("proxy", "origin"):
            cluster.await_event("session_end", since=mark, role=role, kind="publish")
        newest = before.segments[-1].number
        second = world.hold(LivePublisher(cluster.rtmp, "live", stream)).go()
        after = poll(lambda: (p := look()) and any(s.number > newest and s.discontinuity for s in p.segments) and p, timeout=60,
                     what="segments of the next publication", every=0.2)
        assert after.target == before.target
        for s in after.segments:
            assert requests.get(urllib.parse.urljoin(url, s.uri), timeout=30).status_code == 200, s


def test_ours_answer_head_and_ranges(world, stream):
    """Of what the proxy has kept (RFC 9110): 206, 416, and HEAD, which knows no ranges."""
    cluster = world.run(origins=1)
    world.hold(LivePublisher(cluster.rtmp, "live", stream)).go()
    url = media_playlist(cluster.http, stream)
    segment = urllib.parse.urljoin(url, uris(requests.get(url, timeout=30).text)[-1])
    whole = requests.get(segment, timeout=30)
    size = len(whole.content)
    asked = cluster.metrics().total("sluice_hls_requests_total", **{"from": "cache"})
    head = requests.head(segment, headers={"Range": "bytes=0-9"}, timeout=30)
    assert head.status_code == 200 and head.headers["Content-Length"] == str(size) and head.content == b""
    part = requests.get(segment, headers={"Range": "bytes=188-375"}, timeout=30)
    assert (part.status_code, part.content) == (206, whole.content[188:376])
    assert part.headers["Content-Range"] == f"bytes 188-375/{size}" and part.headers["ETag"] == whole.headers["ETag"]
    beyond = requests.get(segment, headers={"Range": f"bytes={size}-"}, timeout=30)
    assert beyond.status_code == 416 and beyond.headers["Content-Range"] == f"bytes */{size}"
    assert cluster.metrics().total("sluice_hls_requests_total", **{"from": "cache"}) >= asked + 3


@pytest.mark.soak
def test_playlists_over_minutes(world, stream):
    """SOAK_MINUTES of a publisher who leaves and returns, and of origins that die: 200 for every request, the rules of RFC 8216 kept from
    one version of the playlist to the next, and every segment that is listed is there."""
    minutes, rng = float(os.environ.get("SOAK_MINUTES", "10")), random.Random(5)
    proxy = world.proxy()
    origins = {f"o{n}": world.origin([proxy], server_id=f"o{n}") for n in range(3)}
    http = proxy.ready_event["http"]
    publisher = world.hold(LivePublisher(proxy.rtmp, "live", stream)).go()
    url, checker, seen, stopped, troubles = media_playlist(http, stream), m3u8check.Checker(), set(), threading.Event(), []

    def watch():
        while not stopped.wait(0.25):
            try:
                answer = requests.get(url, timeout=30)
                assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
                for segment in checker.check(answer.text).segments:
                    if segment.uri not in seen and not segment.gap:
                        seen.add(segment.uri)
                        got = requests.get(urllib.parse.urljoin(url, segment.uri), timeout=30)
                        assert got.status_code == 200 and got.content, f"{segment}: {got.status_code}"
            except Exception as error:  # noqa: BLE001 - told by the test's own thread
                troubles.append(error)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    ends, owner_losses, restarts = time.monotonic() + 60 * minutes, 0, 0
    try:
        while time.monotonic() < ends and not troubles:
            sent = publisher.sent
            until = sent[-1].timestamp + 1000 * rng.uniform(4, 15) if sent else 0
            poll(lambda: troubles or (sent and sent[-1].timestamp >= until), timeout=60, what="media")
            if rng.random() < 0.5:
                victim = next((i for i, o in origins.items() if metrics(o.api).total("sluice_streams") > 0), None)
                if victim:
                    origins[victim].kill()
                    owner_losses += 1
                    mark = len(proxy.events)
                    origins[victim] = world.origin([proxy], server_id=victim, wait=False)
                    proxy.await_event("origin_added", since=mark, origin=lambda o: o.startswith(victim + "-"))
            else:
                publisher.freeze().close()
                stopped.wait(rng.uniform(0.1, 4))
                publisher = world.hold(LivePublisher(proxy.rtmp, "live", stream)).go()
                restarts += 1
                poll(lambda: publisher.sent, what="media of the next publication")
    finally:
        stopped.set()
        watcher.join()
    if troubles:
        raise troubles[0]
    print(f"{len(seen)} segments over {restarts} returns of the publisher and {owner_losses} deaths of the owner")
    assert len(seen) > 10 * minutes and restarts and owner_losses
