"""WebRTC with several proxies on one Redis: a client whose packets reach another proxy than the one where it began, packet by packet."""
import struct
import threading

import pytest
import requests

from lib.rtc_script import RtcClient, RtcScript
from lib.sluice import UNHURRIED
from lib.waiting import poll

MARK = b"\x80\x60"  # RTP, payload type 96


def rtp(number, ssrc=7):
    return MARK + struct.pack(">HII", number & 0xFFFF, number * 3000, ssrc) + struct.pack(">I", number) + bytes(range(256)) * 4


def number_of(packet):
    return struct.unpack(">I", packet[12:16])[0]


class Feed:
    """A viewer's media at the origin: a numbered packet every 3 ms, to where his last good check came from. Not more than 40 are on their
    way, so that no buffer overflows while somebody is held up."""

    def __init__(self, origin, viewer):
        self.origin, self.viewer = origin, viewer
        self.sent = []  # (number, address)
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._halt.wait(0.003):
            if len(self.sent) - sum(len(peer.got) for peer in self.viewer.peers) > 40:
                continue
            number = len(self.sent)
            with self.origin.udp.signal:  # so that nobody's address changes in between
                self.sent.append((number, self.origin.clients[self.viewer.username]))
                self.origin.udp.send(rtp(number), self.sent[-1][1])

    def stop(self):
        self._halt.set()
        self._thread.join()
        return self.sent

    close = stop


def heard(peer):
    """(number, from where) of the media that came there."""
    with peer.signal:
        return [(number_of(data), source) for data, source in peer.got if data[:2] == MARK]


def await_media(peer, count):
    have = len(heard(peer))
    peer.signal.wait(lambda: len(heard(peer)) >= have + count, what=f"{count} more packets")


class Ground:
    """Two proxies that share a Redis, an origin at both, a publisher at the first."""

    def __init__(self, world, stream):
        self.world, self.stream = world, stream
        self.redis = world.redis()
        options = {"play_wait": "2s", **UNHURRIED, **self.redis.settings()}
        self.first, self.second = (world.proxy(**options) for _ in range(2))
        self.origin = world.hold(RtcScript())
        for proxy in (self.first, self.second):
            self.origin.register(proxy)
        self.publisher = self.client(self.first, "whip").begin().await_checked()

    def client(self, proxy, kind):
        return self.world.hold(RtcClient(proxy.http_api, self.stream, kind))

    @staticmethod
    def media_of(proxy):
        host, port = proxy.ready_event["webrtc"].split(":")
        return host, int(port)


@pytest.fixture
def ground(world, stream):
    return Ground(world, stream)


@pytest.mark.parametrize("nominate", [True, False], ids=["nominates", "says_nothing"])
def test_a_viewer_that_reaches_another_proxy_goes_on(ground, nominate):
    """Its session was made at the first proxy. From its first check at the second one on, each packet that the origin sends to where that came from
    arrives once and in its place, from the second's port; and so it is when it comes back to the first."""
    viewer = ground.client(ground.first, "whep").begin().await_checked(nominate=True)
    feed = ground.world.hold(Feed(ground.origin, viewer))
    await_media(viewer.peer, 50)
    ways = [(viewer.peer, ground.first)]
    for proxy in (ground.second, ground.first):
        viewer.media = ground.media_of(proxy)
        moved = viewer.another()
        viewer.await_checked(moved, nominate=nominate)
        ways.append((moved, proxy))
        await_media(moved, 100)
        if proxy is ground.second:
            resumed = proxy.await_event("rtc_resumed")
            assert resumed["stream"].endswith("/live/" + ground.stream) and resumed["origin"].startswith("r1-")
            start = proxy.await_event("session_start", proto="rtc", kind="play")
            assert start["peer"] == "%s:%d" % moved.address
            # And from him to the origin.
            packet = b"\x81\xc9 a receiver's report"
            moved.send(packet, viewer.media)
            assert ground.origin.udp.await_data(packet) == ground.origin.clients[viewer.username]
            assert proxy.metrics().total("sluice_sessions", proto="rtc") == 1
    sent = feed.stop()
    await_last = sent[-1][0]
    ways[-1][0].signal.wait(lambda: heard(ways[-1][0])[-1][0] == await_last, what="the last packet")

    # By the address that the origin sent to: the first proxy's, the second's, the first's again (the session's socket there is still the same).
    runs = []
    for number, to in sent:
        if not runs or runs[-1][0] != to:
            runs.append((to, []))
        runs[-1][1].append(number)
    assert len(runs) == 3 and runs[0][0] == runs[2][0] != runs[1][0]
    arrived = [[number for number, _ in heard(peer)] for peer, _ in ways]
    assert sorted(sum(arrived, [])) == [number for number, _ in sent], "each once"
    for (peer, proxy), (_, numbers), got in zip(ways, runs, arrived):
        assert {source for _, source in heard(peer)} == {ground.media_of(proxy)}
        assert got == sorted(got)
        if nominate:
            assert got == numbers
    # Without a nomination the first proxy sends to the old address until that has been quiet for 300 ms.
    assert arrived[1] == runs[1][1] and arrived[0] + arrived[2] == runs[0][1] + runs[2][1]


def test_what_the_other_proxy_resumed_can_be_ended_there(ground):
    viewer = ground.client(ground.first, "whep").begin().await_checked()
    viewer.media = ground.media_of(ground.second)
    viewer.await_checked(viewer.another())
    ground.second.await_event("rtc_resumed")
    answer = requests.delete(f"http://{ground.second.http_api}{viewer.location}", timeout=10)
    assert answer.status_code == 200
    assert ("DELETE", viewer.location) in [r[:2] for r in ground.origin.http.requests]
    assert ground.second.await_event("session_end", proto="rtc", kind="play")["reason"] == "deleted"
    poll(lambda: ground.second.metrics().total("sluice_sessions", proto="rtc") == 0, what="no session at the second")


def test_a_session_that_is_ended_at_another_proxy_ends_where_it_is_carried(ground):
    """That hears of it at once; nothing of the session is left in Redis, by whichever name the client had."""
    store = ground.redis.client
    ground.origin.answer = ground.origin.with_own_paths
    viewer = ground.client(ground.first, "whep").begin().await_checked()
    names = [viewer.username, viewer.restart().username]
    viewer.await_checked()
    assert all(store.exists(f"srs-proxy-ufrag:{name}") for name in names)
    viewer.api = ground.second.http_api
    assert viewer.delete().status_code == 200
    assert not ground.origin.resources
    assert ground.first.await_event("session_end", proto="rtc", kind="play")["reason"] == "deleted"
    poll(lambda: not any(store.exists(f"srs-proxy-ufrag:{name}") for name in names), what="no record")
    assert ground.second.find("session_end") == []
    ground.publisher.exchange()


def test_a_path_of_the_origins_own_is_known_at_the_other_proxy(ground):
    ground.origin.answer = ground.origin.with_own_paths
    viewer = ground.client(ground.first, "whep").begin().await_checked()
    viewer.api = ground.second.http_api
    stranger = f"http://{viewer.api}/rtc/v1/resource/x?session={viewer.username}"
    assert requests.delete(stranger, timeout=10).status_code == 404, "who knows the name alone"
    assert len(ground.origin.resources) == 1
    viewer.restart().media = ground.media_of(ground.second)
    viewer.await_checked().exchange()
    assert viewer.delete().status_code == 200
    assert not ground.origin.resources
    assert ground.second.await_event("session_end", proto="rtc", kind="play")["reason"] == "deleted"


def test_a_stranger_gets_nowhere_at_the_other_proxy(ground):
    """He who knows the name alone: the session is looked up, and his check is dropped before anything is resumed or claimed; the viewer's media
    stays where it is, and the stream its proxy's. The viewer itself is not kept waiting for it."""
    viewer = ground.client(ground.first, "whep").begin().await_checked()
    feed = ground.world.hold(Feed(ground.origin, viewer))
    await_media(viewer.peer, 20)
    at = ground.media_of(ground.second)
    stranger = viewer.another()

    for knocks, client in ((1, viewer), (2, ground.publisher)):
        client.check(stranger, key=b"wrong" * 5, to=at, nominate=True)
        poll(lambda n=knocks: ground.second.metrics().total("sluice_rtc_dropped_total", reason="bad_integrity") >= n, what="a wrong password at the second")
    await_media(viewer.peer, 50)
    sent = feed.stop()
    assert len({to for _, to in sent}) == 1
    assert stranger.got == []
    assert ground.second.metrics().total("sluice_sessions", proto="rtc") == 0
    assert not ground.second.find("rtc_resumed") and not ground.second.find("session_start")
    viewer.media = at
    moved = viewer.another()
    transaction = viewer.check(moved)
    moved.signal.wait(lambda: any(d[8:20] == transaction for d, _ in moved.got), what="an answer to the first check at the second")


def test_all_clients_of_another_proxy_go_on_with_their_first_check(ground):
    """What happens when a proxy takes another one's place: they come at once. Nobody has to ask twice."""
    viewers = [ground.client(ground.first, "whep").begin() for _ in range(150)]
    for viewer in viewers:
        viewer.media = ground.media_of(ground.second)
    asked = [(viewer.peer, viewer.check()) for viewer in viewers]
    for peer, transaction in asked:
        peer.signal.wait(lambda p=peer, t=transaction: any(d[8:20] == t for d, _ in p.got), what="an answer to the first check")
    assert ground.second.metrics().total("sluice_sessions", proto="rtc") == len(viewers)
    assert ground.second.metrics().total("sluice_rtc_dropped_total") == 0
