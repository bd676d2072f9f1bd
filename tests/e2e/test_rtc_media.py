"""WebRTC through a proxy with real media: aiortc as the origin; aiortc and Chromium as clients."""
import re

import pytest
import requests

from lib import browser
from lib.rtc_media import MediaClient, MediaOrigin, UdpRelay, host_address, media_address
from lib.sluice import UNHURRIED, cluster_state, ports
from lib.waiting import poll

def start_proxy(world, **options):
    # Media by Python leaves little time for answers to probes.
    return world.proxy(ports=ports(webrtc_server="0.0.0.0:0"), advertise=host_address(), play_wait="5s", **UNHURRIED, **options)


@pytest.fixture
def proxy(world):
    return start_proxy(world)


@pytest.fixture
def origin(world, proxy):
    return world.hold(MediaOrigin()).register(proxy)


def client(world, proxy, stream, kind, **options):
    return world.hold(MediaClient(proxy.http_api, stream, kind, **options))


def test_media_flows_both_ways(world, proxy, origin, stream):
    publisher = client(world, proxy, stream, "whip").await_state("connected")
    origin.streams[stream].await_more(10)
    viewer = client(world, proxy, stream, "whep").await_state("connected")
    viewer.counter.await_more(10)
    assert viewer.counter.size == (160, 120)
    # What came, came through the proxy.
    metrics = proxy.metrics()
    for way in ("in", "out"):
        assert metrics.total("sluice_bytes_total", proto="rtc", dir=way) > 2000  # ten small pictures
    assert cluster_state(proxy.api)["streams"][f"__defaultVhost__/live/{stream}"]["viewers"] == 1
    assert viewer.delete().status_code == 200
    assert publisher.delete().status_code == 200
    ends = proxy.await_event("session_end", proto="rtc", count=2)
    assert {e["reason"] for e in ends} == {"deleted"} and {e["kind"] for e in ends} == {"publish", "play"}


def test_a_viewer_whose_address_changes_goes_on(world, proxy, origin, stream):
    """Row 24, with a client that knows nothing of it: its NAT gives it another port."""
    client(world, proxy, stream, "whip").await_state("connected")
    origin.streams[stream].await_more(5)
    relay = world.hold(UdpRelay(media_address(proxy)))
    viewer = client(world, proxy, stream, "whep", via=relay.address)
    viewer.counter.await_more(10)
    for _ in range(2):
        relay.move()
        viewer.counter.await_more(20)
    assert "failed" not in viewer.states and "disconnected" not in viewer.states


def test_a_publisher_whose_address_changes_goes_on(world, proxy, origin, stream):
    relay = world.hold(UdpRelay(media_address(proxy)))
    client(world, proxy, stream, "whip", via=relay.address).await_state("connected")
    origin.streams[stream].await_more(10)
    relay.move()
    origin.streams[stream].await_more(20)


def test_a_client_with_the_wrong_certificate_is_ended_by_its_origin(world, proxy, origin, stream):
    """Row 22: the fingerprint of its offer is another's. The proxy cannot see that, and passes DTLS on; the origin ends it, and so it ends here.
    Nobody else notices."""
    publisher = client(world, proxy, stream, "whip").await_state("connected")
    origin.streams[stream].await_more(5)

    def forge(offer):
        return re.sub(r"(a=fingerprint:\S+ )([0-9A-F:]+)", lambda m: m[1] + ":".join(f"{int(b, 16) ^ 0xFF:02X}" for b in m[2].split(":")), offer)
    client(world, proxy, stream + "2", "whip", change=forge)
    ended = proxy.await_event("session_end", 60, stream=lambda s: s.endswith(stream + "2"))
    assert ended["reason"] in ("origin_unreachable", "consent_expired", "origin_silent"), ended
    assert origin.failed == 1 and origin.streams[stream + "2"].frames == 0
    origin.streams[stream].await_more(5)
    assert publisher.states[-1] == "connected"


def test_chromium_publishes_and_plays(world, proxy, origin, stream):
    """A canvas by WHIP, the same stream by WHEP, and DELETE of both, in a real browser under its rules (CORS)."""
    seen = browser.rtc(proxy, stream, frames=25)
    assert seen["errors"] == [], seen
    assert seen["published"]["status"] == seen["played"]["status"] == 201, seen
    assert seen["published"]["state"] == seen["played"]["state"] == "connected", seen
    assert seen["published"]["framesSent"] >= 25 and seen["played"]["framesDecoded"] >= 25, seen
    assert (seen["played"]["width"], seen["played"]["height"]) == (160, 120)
    assert seen["deleted"] == [200, 200]
    assert origin.streams[stream].frames > 10
    assert {e["reason"] for e in proxy.await_event("session_end", proto="rtc", count=2)} == {"deleted"}


def test_chromium_plays_what_aiortc_publishes(world, proxy, origin, stream):
    client(world, proxy, stream, "whip").await_state("connected")
    origin.streams[stream].await_more(3)
    seen = browser.rtc(proxy, stream, play=True, frames=20)
    assert seen["played"]["state"] == "connected" and seen["played"]["framesDecoded"] >= 20, seen


def test_a_client_that_now_reaches_another_proxy_goes_on(world, stream):
    """Two proxies on one Redis: checks arrive at the other one, which finds the session in the store, and media follows. (Of a publisher: an
    aiortc origin takes what comes from anywhere, but goes on sending to where it sent before.)"""
    store = world.redis()
    first, second = (start_proxy(world, **store.settings()) for _ in range(2))
    origin = world.hold(MediaOrigin()).register(first, second)
    relay = world.hold(UdpRelay(media_address(first)))
    publisher = client(world, first, stream, "whip", via=relay.address).await_state("connected")
    origin.streams[stream].await_more(5)
    relay.move(media_address(second))
    second.await_event("rtc_resumed")
    origin.streams[stream].await_more(20)
    # The resource is known there, too.
    path = publisher.location.partition("/rtc/")[2]
    assert requests.delete(f"http://{second.http_api}/rtc/{path}", timeout=10).status_code == 200
    poll(lambda: second.metrics().total("sluice_sessions", proto="rtc") == 0, what="no sessions at the second")
