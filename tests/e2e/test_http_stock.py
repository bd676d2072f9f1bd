"""HTTP through a proxy to an origin that is none of ours: what a viewer says reaches it, and what it answers comes back."""
import pytest

from lib import media, tscheck
from lib.fake_origin import FakeOrigin
from lib.http_live import FlvViewer, HttpOrigin, HttpViewer
from lib.live import Content
from lib.sluice import UNHURRIED, get, register, registration
from lib.waiting import poll

FLV_HEAD = b"FLV\1\5\0\0\0\x09\0\0\0\0"


def flv_bytes(tags):
    out = b""
    for t in tags:
        head = bytes([t.type]) + len(t.payload).to_bytes(3, "big") + (t.timestamp & 0xFFFFFF).to_bytes(3, "big") + bytes([t.timestamp >> 24, 0, 0, 0])
        out += head + t.payload + (len(head) + len(t.payload)).to_bytes(4, "big")
    return out


class Ground:
    """A proxy and an origin by script, which has the stream live/STREAM."""

    def __init__(self, world, stream, **options):
        self.rtmp, self.http = FakeOrigin(), HttpOrigin()
        self.proxy = world.proxy(play_wait="1s", **UNHURRIED, **options)
        register(self.proxy.api, registration(self.rtmp.port, server="f1", http=[str(self.http.port)])).raise_for_status()
        self.publisher = world.publisher(self.proxy.rtmp, "live", stream)
        self.world, self.stream = world, stream

    def get(self, kind, query="", method="GET", headers=(), to=HttpViewer, **options):
        return self.world.hold(to(self.proxy.http, f"/live/{self.stream}.{kind}{query}", method=method, headers=headers, **options))


@pytest.fixture
def ground(world, stream):
    made = Ground(world, stream)
    yield made
    made.http.close()
    made.rtmp.close()


def endless(data, headers=()):
    """Chunked, until the client goes."""
    def answer(handler):
        handler.reply(200, headers=[("Transfer-Encoding", "chunked"), *headers], length=False)
        handler.chunk(data)
        handler.await_gone()
    return answer


PACKETS = (b"\x47\x01\x00\x10" + bytes(184)) * 50
TAGS = [*Content("x").headers(), *[t for t, _ in zip(iter(Content("x")), range(20))]]


@pytest.mark.parametrize("kind", ["flv", "ts"])
def test_requests_and_answers_pass(ground, kind):
    body = PACKETS if kind == "ts" else FLV_HEAD + flv_bytes(TAGS)
    ground.http.answer = endless(body, [("X-Origin", "yes"), ("Set-Cookie", "a=b"), ("Connection", "x-hop"), ("X-Hop", "secret")])
    viewer = ground.get(kind, "?token=a%20b&x=1", headers=[("Authorization", "Bearer t"), ("User-Agent", "u/1"), ("Cookie", "c=d"),
                                                             ("Connection", "keep-alive, x-mine"), ("X-Mine", "secret"), ("TE", "trailers"),
                                                             ("X-Forwarded-For", "203.0.113.7, 198.51.100.2"), ("X-Real-IP", "203.0.113.7")])
    method, target, headers = ground.http.await_requests(1)
    assert (method, target) == ("GET", f"/live/{ground.stream}.{kind}?token=a%20b&x=1")
    assert headers["authorization"] == "Bearer t" and headers["user-agent"] == "u/1" and headers["cookie"] == "c=d"
    assert headers["host"] == ground.proxy.http
    assert "x-mine" not in headers and "te" not in headers
    # Loopback is trusted, so what it says is passed on, with itself behind.
    assert headers["x-forwarded-for"] == "203.0.113.7, 198.51.100.2, 127.0.0.1" and headers["x-real-ip"] == "198.51.100.2"
    assert viewer.status == 200 and viewer.headers["x-origin"] == "yes" and viewer.headers["set-cookie"] == "a=b"
    assert "x-hop" not in viewer.headers and "transfer-encoding" not in viewer.headers
    if kind == "ts":
        viewer.wait(lambda: len(viewer.data) >= len(body), what="the body")
        assert bytes(viewer.data) == body
    else:
        viewer.wait(lambda: len(viewer.data) >= len(body), what="the body")
        assert bytes(viewer.data[13:]) == body[13:]
    viewer.close()
    ground.http.await_gone()


def test_a_stranger_says_nothing_of_his_address(world, stream):
    ground = Ground(world, stream, trusted_networks="192.0.2.0/24")
    ground.http.answer = endless(PACKETS)
    ground.get("ts", headers=[("X-Forwarded-For", "203.0.113.7"), ("X-Real-IP", "203.0.113.7")])
    _, _, headers = ground.http.await_requests(1)
    assert headers["x-forwarded-for"] == headers["x-real-ip"] == "127.0.0.1"


@pytest.mark.parametrize("kind", ["flv", "ts"])
@pytest.mark.parametrize("status", [401, 403, 404, 302, 500])
def test_refusals_pass(ground, kind, status):
    ground.http.answer = lambda handler: handler.reply(status, b"no, said the origin",
                                                       [("WWW-Authenticate", "Basic"), ("Location", "http://a.b/c"), ("Content-Type", "text/x")])
    viewer = ground.get(kind)
    assert viewer.status == status
    assert viewer.headers["www-authenticate"] == "Basic" and viewer.headers["location"] == "http://a.b/c"
    body = viewer.await_close() if kind == "ts" else None
    if kind == "ts":
        assert body == b"no, said the origin" and viewer.headers["content-type"] == "text/x"
    assert len(ground.http.requests) == 1


def test_a_long_refusal_comes_whole(ground):
    text = b"x" * 300_000
    ground.http.answer = lambda handler: handler.reply(404, text)
    assert ground.get("ts").await_close() == text


def test_head_passes(ground):
    ground.http.answer = lambda handler: handler.reply(200, headers=[("X-Origin", "yes"), ("Content-Type", "video/mp2t")], length=False)
    for kind in ("flv", "ts"):
        viewer = ground.get(kind, method="HEAD", headers=[("Connection", "close")])
        assert viewer.status == 200 and viewer.headers["x-origin"] == "yes" and "content-length" not in viewer.headers
        assert viewer.await_close() == b""
    assert [r[0] for r in ground.http.requests] == ["HEAD", "HEAD"]


@pytest.mark.parametrize("kind", ["flv", "ts"])
def test_who_never_reads_is_closed(world, stream, kind):
    """Row 16, where each viewer has his own answer of the origin: after player_stall; the origin is told."""
    ground = Ground(world, stream, player_stall="1s")
    piece = PACKETS if kind == "ts" else flv_bytes(TAGS)
    ground.http.answer = endless((b"" if kind == "ts" else FLV_HEAD) + piece * ((16 << 20) // len(piece)))
    ground.get(kind, read=False, receive_buffer=4096)
    end = ground.proxy.await_event("session_end", reason="slow_reader")
    assert end["proto"] == f"http-{kind}"
    ground.http.close()
    ground.rtmp.close()


def test_nothing_is_held_back(ground):
    """Each packet arrives before the next is sent."""
    viewer = None

    def answer(handler):
        handler.reply(200, headers=[("Transfer-Encoding", "chunked")], length=False)
        for n in range(1, 6):
            handler.chunk(PACKETS[:188])
            ground.http.signal.wait(lambda: viewer is not None, what="the viewer")
            viewer.wait(lambda: len(viewer.data) >= 188 * n, what=f"packet {n}")
        handler.chunk(b"")
    ground.http.answer = answer
    viewer = ground.get("ts")
    ground.http.signal.changed()
    assert len(viewer.await_close()) == 5 * 188


def test_a_client_that_leaves_ends_the_request_before_its_answer_too(ground):
    ground.http.answer = lambda handler: handler.await_gone()
    for n, kind in enumerate(("flv", "ts")):
        viewer = ground.get(kind, wait=False)
        ground.http.await_requests(n + 1)
        viewer.close()
        ground.http.await_gone(n + 1)


@pytest.mark.parametrize("kind", ["flv", "ts"])
def test_garbage_is_502(world, stream, kind):
    def answer(handler):
        handler.wfile.write(b"SSH-2.0-x\r\n\r\n")
        handler.close_connection = True
    ground = Ground(world, stream, recover_wait="1s")
    ground.http.answer = answer
    assert ground.get(kind).status == 502
    ground.http.close()
    ground.rtmp.close()


def test_a_viewer_who_does_not_read_stops_his_origin_only(ground):
    """Back pressure, not memory."""
    sent = [0]

    def answer(handler):
        handler.reply(200, headers=[("Transfer-Encoding", "chunked")], length=False)
        handler.connection.settimeout(2)
        try:
            for _ in range(2000):
                handler.chunk(PACKETS * 10)
                sent[0] += len(PACKETS) * 10
        except OSError:
            handler.close_connection = True
    ground.http.answer = answer
    ground.get("ts", read=False, receive_buffer=4096)
    ground.http.await_requests(1)
    last = [-1]

    def still():
        same, last[0] = last[0] == sent[0] > 0, sent[0]
        return same
    poll(still, every=0.5, what="an origin that waits")
    assert sent[0] < 16 << 20


def test_so_many_viewers(world, stream):
    ground = Ground(world, stream, max_sessions=3, shards=1)
    ground.http.answer = endless(PACKETS)
    assert [ground.get("ts").status for _ in range(3)] == [200, 200, 503]
    ground.http.close()
    ground.rtmp.close()


def test_an_origin_without_http(world, stream):
    fake = FakeOrigin()
    proxy = world.proxy(play_wait="1s", recover_wait="1s", **UNHURRIED)
    register(proxy.api, registration(fake.port, server="f1")).raise_for_status()
    world.publisher(proxy.rtmp, "live", stream).put_all(media.heavy(frames=3))
    for kind in ("flv", "ts"):
        assert get(proxy.http, f"/live/{stream}.{kind}", timeout=10).status_code in (404, 502)
    fake.close()


def test_two_requests_on_one_connection_to_an_origin_are_not_mixed(ground):
    """What follows a request in the same bytes is no second request to the origin."""
    ground.http.answer = endless(PACKETS)
    viewer = ground.get("ts", wait=False, headers=[("X", "y\r\n\r\nGET /secret.ts HTTP/1.1\r\nHost: a")])
    ground.http.await_requests(1)
    viewer.wait(lambda: len(viewer.data) >= len(PACKETS), what="the body")
    assert [r[1] for r in ground.http.requests] == [f"/live/{ground.stream}.ts"]
    assert tscheck.PACKET == 188 and len(viewer.data) == len(PACKETS)
    assert isinstance(viewer, HttpViewer) and not isinstance(viewer, FlvViewer)
