"""A proxy is replaced while SRT and WebRTC sessions run: their ports are the next one's at once. What SRT's callers have ends there and then, and
they come back; what WebRTC's clients have goes on."""
import os
import signal
import socket
import threading

import pytest
import requests

from lib import net, srt
from lib.rtc_script import RtcClient, RtcScript, candidates
from lib.sluice import UNHURRIED, cluster_state, ports
from lib.srt_origin import Stock
from lib.waiting import poll


class Ground:
    """A proxy with UDP ports of its own choice, which can be replaced."""

    def __init__(self, world, **options):
        self.world = world
        self.options = {"upgrade_socket": os.path.join(world.folder, "upgrade.sock"), "grace_quit_timeout": "120s", "force_quit_timeout": "150s",
                        "play_wait": "1s", **UNHURRIED, **options}
        self.ports = ports(**{name: f"{net.LOOPBACK}:{net.free_port(kind=socket.SOCK_DGRAM)}" for name in ("srt_server", "webrtc_server")})
        self.proxy = self.start()
        self.srt, self.webrtc = (net.split_address(self.proxy.ready_event[k]) for k in ("srt", "webrtc"))

    def start(self):
        return self.world.proxy(ports=self.ports, shards=2, **self.options)

    def replace(self):
        """The former process, once the next one serves its UDP ports."""
        old, self.proxy = self.proxy, self.start()
        opened = self.proxy.await_event("udp_open")
        assert [net.split_address(opened[k]) for k in ("srt", "webrtc")] == [self.srt, self.webrtc]
        old.await_event("upgrade_done", to_pid=self.proxy.pid)
        return old


@pytest.fixture
def ground(world):
    return Ground(world)


class Feed:
    """An SRT publisher who sends until his connection ends."""

    def __init__(self, address, name):
        self.caller, self.sent = srt.call(address, f"#!::r=live/{name},m=publish"), 0
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(name,), daemon=True)
        self._thread.start()

    def _run(self, name):
        while not self._halt.wait(0.003) and self.caller.send(srt.message(self.sent, name)):
            self.sent += 1

    def await_end(self):
        self._thread.join(20)
        assert not self._thread.is_alive(), "its connection goes on"

    def close(self):
        self._halt.set()
        self._thread.join()
        self.caller.close()


def replace_amid(ground, done, what, count=6):
    """While others add to `done`: some before the proxy is replaced, some after."""
    poll(lambda: len(done) >= count, what=what)
    ground.replace()
    now = len(done)
    poll(lambda: len(done) >= now + count, what=f"{what} of the next process")


def test_srt_callers_come_back_to_the_next_process(world, ground):
    """Twice in a row: publisher and player, and the origin, hear the end at once; a call to the same port in that moment is served by the next process, though
    the stream was the former one's a moment ago."""
    origin = world.hold(Stock(ground.proxy))
    kept = []
    for turn in range(3):
        feed = world.hold(Feed(ground.srt, "cam"))
        player = world.hold(srt.call(ground.srt, "#!::r=live/cam,m=request"))
        begun = len(kept)
        kept = origin.srt.signal.wait(lambda: len(origin.srt.published.get("live/cam", ())) >= begun + 20 and origin.srt.published["live/cam"],
                                      what="media at the origin")
        assert kept[begun] == srt.message(0, "cam"), "from its first message on"
        for index in range(begun + 20):  # of all that the origin has, this turn's included
            assert player.recv() == kept[index], index
        state = cluster_state(ground.proxy.api)["streams"]["__defaultVhost__/live/cam"]
        assert state["owner"].startswith("o1-") and state["viewers"] == 1
        if turn == 2:
            break
        held = list(origin.srt.sessions)
        old = ground.replace()
        assert {e["reason"] for e in old.await_event("session_end", proto="srt", count=2)} == {"upgraded"}
        feed.await_end()
        while player.recv() is not None:
            pass
        origin.srt.signal.wait(lambda: all(s.served for s in held), what="the end at the origin, too, of all that came")
        kept = list(origin.srt.published["live/cam"])
        assert old.await_exit() == 0, "nothing holds it back"
    assert not ground.proxy.find("session_refused")
    assert ground.proxy.metrics().total("sluice_sessions", proto="srt") == 2


def test_callers_of_the_moment_of_change(world, ground):
    """Who calls while the port changes hands is served by either process. Only one who is in the midst of his handshake just then is refused by the former
    one (1503), or, with its cookie, waits for nothing at the next one (16: his time is over); when he calls again he is served."""
    world.hold(Stock(ground.proxy))
    halt, served, refused, ended = threading.Event(), [], [], []
    in_the_midst = {1503, 16}

    def knock(number):
        turn = 0
        while not halt.is_set():
            try:
                srt.call(ground.srt, f"#!::r=live/k{number}x{turn},m=publish", connect_timeout=3000).close()
                served.append(turn)
            except srt.EndedAtOnce:
                ended.append(turn)  # served by the former one, whose sessions ended in that moment
            except srt.Refused as e:
                refused.append((e.reason, e.error))
            turn += 1

    count = 3
    knockers = [threading.Thread(target=knock, args=(n,)) for n in range(count)]
    for k in knockers:
        k.start()
    replace_amid(ground, served, "callers")
    halt.set()
    for k in knockers:
        k.join()
    assert {reason for reason, _ in refused} <= in_the_midst and len(refused) <= 2 * count, refused
    assert len(ended) <= count, "each caller has one session in that moment"


@pytest.mark.parametrize("store", ["memory", "redis"])
def test_webrtc_sessions_go_on_at_the_next_process(world, stream, store):
    """Their clients and their origin keep what they have: with the next check media flows again, over the next process. Nothing is left behind at the origin, where
    each can be ended as before; and who begins anew is served from the first moment on."""
    ground = Ground(world, **(world.redis().settings() if store == "redis" else {}))
    origin = world.hold(RtcScript()).register(ground.proxy)
    clients = [world.hold(RtcClient(ground.proxy.http_api, stream, kind)).begin().await_checked() for kind in ("whip", "whep")]
    for client in clients:
        client.exchange()
    for _ in range(2):
        old = ground.replace()
        ends = old.await_event("session_end", proto="rtc", count=2)
        assert {e["reason"] for e in ends} == {"upgraded"}
        for client in clients:
            client.await_checked().exchange()
        assert {e["kind"] for e in ground.proxy.await_event("session_start", proto="rtc", count=2)} == {"publish", "play"}
        state = cluster_state(ground.proxy.api)["streams"]["__defaultVhost__/live/" + stream]
        assert state["publisher"] and state["viewers"] == 1
        assert old.await_exit() == 0
    assert len(origin.offers) == 2, "nobody began anew"
    for client in clients:
        assert requests.delete(f"http://{ground.proxy.http_api}{client.location}", timeout=10).status_code == 200
    assert [r[1] for r in origin.http.requests if r[0] == "DELETE"] == [c.location for c in clients]
    poll(lambda: ground.proxy.metrics().total("sluice_sessions", proto="rtc") == 0, what="no sessions")
    again = world.hold(RtcClient(ground.proxy.http_api, stream, "whip")).begin().await_checked()
    again.exchange()


def test_sessions_with_a_path_of_the_origins_own_are_changed_at_the_next_process(world, ground, stream):
    """Before any check has come there, and after."""
    origin = world.hold(RtcScript()).register(ground.proxy)
    origin.answer = origin.with_own_paths
    publisher, *viewers = [world.hold(RtcClient(ground.proxy.http_api, stream, kind)).begin().await_checked() for kind in ("whip", "whep", "whep")]
    ground.replace()
    for client in (publisher, *viewers):
        client.api = ground.proxy.http_api
    assert viewers[0].delete().status_code == 200
    assert len(origin.resources) == 2
    assert viewers[0].delete().status_code == 404, "the origin's"
    assert not ground.proxy.find("session_start")
    for client in (publisher, viewers[1]):
        client.restart().await_checked().exchange()
    ground.replace()
    for client in (publisher, viewers[1]):
        client.api = ground.proxy.http_api
        client.await_checked().restart().await_checked().exchange()
    for client in (viewers[1], publisher):
        assert client.delete().status_code == 200
    assert {e["reason"] for e in ground.proxy.await_event("session_end", proto="rtc", count=2)} == {"deleted"}
    assert not origin.resources


def test_an_origin_that_closes_before_it_answers(world, ground, stream):
    """To the DELETE of a session that the former process began."""
    origin = world.hold(RtcScript()).register(ground.proxy)
    client = world.hold(RtcClient(ground.proxy.http_api, stream, "whip")).begin().await_checked()
    ground.replace()
    client.await_checked().exchange()

    def answer(handler):
        if handler.command == "DELETE":
            origin.udp.close()

            def ended():
                client.peer.send(b"\x80 more", client.media)
                return ground.proxy.find("session_end")
            poll(ended, what="the end")
        return origin.as_srs(handler)
    origin.answer = answer
    client.api = ground.proxy.http_api
    assert client.delete().status_code == 200
    assert ground.proxy.await_event("session_end", proto="rtc")["reason"] == "deleted"


def test_whip_in_the_moment_of_change(world, ground, stream):
    """Every answer names the port that both processes have; those of the next one lead to media, though it opens that port a moment later."""
    world.hold(RtcScript()).register(ground.proxy)
    halt, begun, failed = threading.Event(), [], []

    def begin():
        while not halt.wait(0.02):  # an address may have a thousand sessions
            client = world.hold(RtcClient(ground.proxy.http_api, f"{stream}{len(begun)}", "whip"))
            try:
                answer = client.post()
            except requests.exceptions.RequestException as error:
                failed.append(error)
                continue
            if answer.status_code != 201:
                failed.append((answer.status_code, answer.text))
                continue
            begun.append(client.take(answer.text, answer.headers["Location"]))

    thread = threading.Thread(target=begin)
    thread.start()
    replace_amid(ground, begun, "sessions")
    halt.set()
    thread.join()
    assert len(failed) <= 2, failed  # who asked the former one in its last moment asks again
    for client in begun:
        assert candidates(client.answer)[0][:2] == ground.webrtc
    for client in begun[-5:]:
        client.await_checked().exchange()


@pytest.mark.parametrize("port", ["srt", "webrtc"])
def test_the_next_one_comes_while_another_program_has_a_port(ground, port):
    """The second process says that it waits for it; once the third has taken its place, it wants that port no more."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stray:
        stray.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stray.bind(getattr(ground, port))
        first, second = ground.proxy, ground.start()
        assert first.await_exit() == 0
        waiting = second.await_event("udp_waiting")
        assert net.split_address(waiting["address"]) == getattr(ground, port) and waiting["reason"] == "address_in_use"
        with net.connect(net.split_address(second.ready_event["rtmp"])) as held:
            held.sendall(b"\3" + bytes(1536))
            assert held.recv(1) == b"\3", "it stays for this one's sake"
            third = ground.start()
            second.await_event("upgrade_done", to_pid=third.pid)
            third.send_signal(signal.SIGSTOP)  # or it might be the quicker one
            stray.close()
    assert second.await_exit() == 0
    third.send_signal(signal.SIGCONT)
    third.await_event("udp_open")
    assert not second.find("udp_open") and len(second.find("udp_waiting")) == 1
