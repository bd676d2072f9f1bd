"""A proxy is replaced by the next one on the same host without one refused or reset connect; origins one after another."""
import json
import os
import signal
import subprocess
import sys

import pytest

from lib import audit, net
from lib.handover import Taker
from lib.hammer import Hammer, http_visit, rtmp_visit
from lib.http_live import FlvViewer
from lib.live import Auditor, Content, LivePublisher
from lib.sluice import ANY_PORTS, Server, cluster_state, drain, get, ports, register, registration
from lib.stage import Stage
from lib.waiting import poll


class Ground:
    """A proxy that can be replaced, origins, streams with viewers, and somebody who connects to every port all the time."""

    def __init__(self, world, shards=2, origins=2, **options):
        self.world = world
        self.path = os.path.join(world.folder, "upgrade.sock")
        self.options = {"upgrade_socket": self.path, "grace_quit_timeout": "120s", "force_quit_timeout": "150s", **options}
        self.proxy = world.proxy(shards=shards, **self.options)
        self.former = []
        self.origins = [world.origin([self.proxy], server_id=f"o{n + 1}") for n in range(origins)]
        self.streams = []  # (publisher, viewers)
        self.hammers = []

    def hammer(self):
        visits = ((rtmp_visit, self.proxy.rtmp), (http_visit, self.proxy.http), (http_visit, self.proxy.http_api),
                  (http_visit, self.proxy.api))
        self.hammers = [self.world.hold(Hammer(visit, address)) for visit, address in visits]
        return self.await_visits(50)

    def await_visits(self, count):
        for hammer in self.hammers:
            hammer.await_more(count)
        return self

    def publish(self, name):
        publisher = self.world.hold(LivePublisher(self.proxy.rtmp, "live", name, Content(name))).go()
        self.streams.append((publisher, []))
        self.view(name)
        return publisher

    def view(self, name):
        """Two more viewers of the stream, at the proxy that accepts just now."""
        viewers = next(v for p, v in self.streams if p.name == name)
        viewers.append(self.world.hold(Auditor(self.proxy.rtmp, "live", name)))
        viewers.append(self.world.hold(FlvViewer(self.proxy.http, f"/live/{name}.flv")))

    def await_flowing(self):
        for publisher, viewers in self.streams:
            publisher.await_sent_more(3)
            entry = publisher.last_sent()
            for viewer in viewers:
                viewer.await_seen(entry)

    def replace(self, shards=2, **options):
        """Starts the next process, and waits until it has taken over."""
        old = self.proxy
        self.proxy = self.world.proxy(shards=shards, **{**self.options, **options})
        self.former.append(old)
        done = self.proxy.await_event("upgrade_done")
        assert done["from_pid"] == old.pid and done["from_version"] == done["version"], done
        old.await_event("upgrade_done", to_pid=self.proxy.pid)
        assert [getattr(self.proxy, a) for a in ("rtmp", "http", "api", "http_api")] == \
            [getattr(old, a) for a in ("rtmp", "http", "api", "http_api")]
        return old

    def check(self):
        for hammer in self.hammers:
            hammer.check()
        for publisher, viewers in self.streams:
            assert publisher.closed is None, publisher.closed
            for n, viewer in enumerate(viewers):
                assert viewer.closed is None, f"viewer {n} of {publisher.name}: {viewer.closed}"
                seen = list(viewer.seen)
                audit.assert_exact(seen, publisher.published(), f"viewer {n} of {publisher.name}")

    def end(self):
        """All streams end; those who have given way end with their last session."""
        for publisher, viewers in self.streams:
            publisher.freeze().close()
            for viewer in viewers:
                viewer.close()
        for hammer in self.hammers:
            hammer.close()
            hammer.check()
        for proxy in self.former:
            assert proxy.await_exit(30) == 0


def undisturbed(ground, proxy):
    """It serves as before, and nobody noticed anything."""
    ground.await_visits(30).await_flowing()
    ground.check()
    assert proxy.alive and not proxy.find("stopping")


def test_three_in_a_row_under_load(world):
    """Not one of hundreds of connects to any port fails; what runs goes on where it is, without a missing packet; whoever comes later
    finds all streams, also those that are published through the processes before."""
    ground = Ground(world)
    ground.publish("first0")
    ground.publish("first1")
    ground.hammer().await_flowing()
    for n in range(3):
        old = ground.replace()
        ground.await_visits(100)
        for publisher, _ in list(ground.streams):
            ground.view(publisher.name)
        ground.publish(f"later{n}")
        ground.await_flowing()
        assert old.alive, "its sessions have not ended"
        # Origins' heartbeats come to the new one.
        for origin in ground.origins:
            poll(lambda: any(s["held"] for s in cluster_state(ground.proxy.api)["streams"].values()), what="what origins hold")
            assert origin.alive and not origin.find("register_failed")
        ground.check()
    assert sum(h.done for h in ground.hammers) >= 1200
    assert get(ground.proxy.api, "/metrics").text.count('sluice_upgrades_total{outcome="taken"} 1') == 1
    ground.end()


def test_streams_stay_with_their_origin(world):
    """The next process claims nothing: streams of the one before stay at their origin, with their epoch; when that origin dies, the publisher's
    process moves them, and viewers at both find them."""
    ground = Ground(world)
    ground.publish("s")
    ground.await_flowing()
    before = cluster_state(ground.proxy.api)["streams"]["__defaultVhost__/live/s"]
    ground.replace()
    ground.view("s")
    ground.await_flowing()
    after = poll(lambda: (s := cluster_state(ground.proxy.api)["streams"].get("__defaultVhost__/live/s")) and s["held"] and s, what="the stream")
    assert (after["owner"], after["epoch"]) == (before["owner"], before["epoch"])
    owner = next(o for o in ground.origins if before["owner"].startswith(o.name + "-"))
    owner.kill()
    ground.await_flowing()
    ground.check()
    ground.end()


def test_another_number_of_shards(world):
    """Each queue of connections goes on being served, whoever has it; more shards open more."""
    ground = Ground(world, shards=3)
    ground.publish("s")
    ground.hammer()
    for shards in (1, 4, 2):
        ground.replace(shards=shards)
        ground.view("s")
        ground.await_visits(150).await_flowing()
        ground.check()
    ground.end()


def test_encoders_are_asked_to_reconnect(world):
    """As on SIGTERM; and when they do, they find the next process, and their viewers stay."""
    ground = Ground(world)
    able = world.hold(LivePublisher(ground.proxy.rtmp, "live", "able", connect={"capsEx": 1, "fourCcList": ["*"]})).go()
    able.await_sent_more(5)
    old = ground.replace()
    able.await_status("NetConnection.Connect.ReconnectRequest")
    viewer = world.hold(Auditor(ground.proxy.rtmp, "live", "able"))
    viewer.await_count(10)
    able.freeze().close()
    assert old.await_exit(20) == 0, "its last session has ended"
    again = world.hold(LivePublisher(ground.proxy.rtmp, "live", "able", Content("again", start=100_000))).go()
    again.await_sent_more(5)
    viewer.await_seen(again.last_sent())
    assert viewer.closed is None
    owner = {o.name for o in ground.origins if o.find("session_start", kind="publish")}
    assert len(owner) == 1, "it is published where it was"


def test_other_origins_and_drains_are_known_at_once(world):
    """Origins that register seldom (others than ours), which of them are drained, and where their streams are, is handed over."""
    ground = Ground(world, origins=0)
    for name in ("x1", "x2"):
        origin = world.origin([], server_id=name)
        rtmp, http = (address.rpartition(":")[2] for address in (origin.rtmp, origin.http))
        register(ground.proxy.api, registration(rtmp, server=name, http=[http])).raise_for_status()
    ground.publish("s").await_sent_more(3)
    assert drain(ground.proxy.api, "x2").status_code == 200
    ground.streams.clear()
    ground.replace()
    state = cluster_state(ground.proxy.api)["origins"]
    assert {name: o["draining"] for name, o in state.items()} == {"x1": False, "x2": True}
    player = world.hold(Auditor(ground.proxy.rtmp, "live", "s"))
    player.await_count(10)


def test_a_next_process_that_dies_changes_nothing(world):
    """With all sockets in its hands, before it serves; or after it said so, and could not finish."""
    ground = Ground(world)
    ground.publish("s")
    ground.hammer()
    mark = len(ground.proxy.events)
    taker = Taker(ground.path)
    state = json.loads(taker.begin())
    assert sorted(o["server"] for o in state["origins"]) == ["o1", "o2"] and len(state["owners"]) == 1
    names = sorted(name for name, _ in taker.sockets)
    assert names == ["http", "http", "http_api", "http_reserved", "rtmp", "rtmp", "rtmp_reserved", "system_api"]
    ground.await_visits(20)
    taker.close()
    assert ground.proxy.await_event("upgrade_failed", since=mark)["reason"] == "gone"
    undisturbed(ground, ground.proxy)
    # A process that is told to serve and does not answer any more.
    mark = len(ground.proxy.events)
    taker = Taker(ground.path)
    taker.begin()
    assert taker.say("ready").hear()[0] == "go"
    assert ground.proxy.await_event("upgrade_failed", since=mark)["reason"] == "timeout"
    assert dict(taker.hear()[1])["reason"] == "timeout"
    taker.close()
    undisturbed(ground, ground.proxy)
    ground.replace()
    ground.await_visits(20)
    ground.check()
    ground.end()


def test_other_addresses_are_an_error(world):
    """It names the setting; the running one goes on."""
    ground = Ground(world)
    ground.publish("s")
    ground.hammer()
    for name, key in (("rtmp_server", "PROXY_RTMP_SERVER"), ("system_api", "PROXY_SYSTEM_API")):
        mark = len(ground.proxy.events)
        other = world.own(Server("proxy", [*ports(**{name: "127.0.0.1:1"}), "--upgrade-socket", ground.path], world.folder))
        assert other.await_exit() == 1
        why = other.find("cannot_listen")[0]
        assert (why["key"], why["reason"]) == (key, "other_address") and key in why["text"], why
        assert ground.proxy.await_event("upgrade_failed", since=mark)["reason"] == "gone"
    undisturbed(ground, ground.proxy)
    ground.end()


def test_garbage_and_strangers(world, tmp_path_factory):
    """What is no proxy is refused, and so are two at a time and another user's process, if the kernel lets it connect at all."""
    ground = Ground(world)
    ground.publish("s")
    ground.hammer()
    for packet in (b"GET / HTTP/1.1\r\n\r\n", b"sluice-handover 1 taken\n\n", bytes(range(256)) * 200):
        mark = len(ground.proxy.events)
        stranger = Taker(ground.path).send(packet)
        kind, fields, _ = stranger.hear()
        assert kind == "refused" and dict(fields)["reason"] == "bad_message"
        stranger.close()
        ground.proxy.await_event("upgrade_failed", since=mark, reason="bad_message")
    assert os.stat(ground.path).st_mode & 0o777 == 0o600
    first = Taker(ground.path)
    first.begin()
    second = Taker(ground.path)
    assert dict(second.hear()[1])["reason"] == "busy"
    first.close()
    second.close()
    if os.geteuid() == 0:
        probe = ("import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.settimeout(10); s.connect(sys.argv[1]); "
                 "print(s.recv(1000).decode())")
        folder = world.folder
        while folder not in ("/", "/tmp"):  # pytest's folders are for their user alone
            os.chmod(folder, 0o755)
            folder = os.path.dirname(folder)
        args = dict(user=65534, group=65534, extra_groups=[], capture_output=True, text=True, cwd="/")
        shut = subprocess.run([sys.executable, "-c", probe, ground.path], **args)
        assert "PermissionError" in shut.stderr, shut
        os.chmod(ground.path, 0o666)
        refused = subprocess.run([sys.executable, "-c", probe, ground.path], **args)
        assert "reason wrong_owner" in refused.stdout, refused
    undisturbed(ground, ground.proxy)
    ground.end()


def test_a_stale_socket(world):
    """What a killed process left is no hindrance; a file that is no socket is nobody's to remove."""
    ground = Ground(world, origins=1)
    ground.proxy.kill()
    assert os.path.exists(ground.path)
    ground.proxy = world.proxy(shards=2, **ground.options)
    assert not ground.proxy.find("upgrade_begun")
    ground.replace()
    assert ground.former[0].await_exit() == 0
    ground.proxy.stop()
    assert not os.path.exists(ground.path), "it takes its socket along"
    with open(ground.path, "w") as file:
        file.write("precious")
    other = world.own(Server("proxy", [*ANY_PORTS, "--upgrade-socket", ground.path], world.folder))
    assert other.await_exit() == 1
    assert other.find("upgrade_failed")[0]["key"] == "PROXY_UPGRADE_SOCKET"
    assert open(ground.path).read() == "precious"


def test_the_old_one_ends_at_its_grace_time(world):
    """Sessions that do not end by themselves end then, and the process with 0; a signal meanwhile is the first one."""
    ground = Ground(world, grace_quit_timeout="10s")
    publisher = ground.publish("s")
    ground.await_flowing()
    old = ground.replace()
    old.send_signal(signal.SIGTERM)
    publisher.await_sent_more(10)
    assert old.await_exit(40) == 0
    publisher.await_close()


def test_readiness(world):
    """Of a proxy for a load balancer: not before its media ports are open, and not while it stops; alive all the time."""
    api = f"127.0.0.1:{net.free_port()}"
    flags = ["--wait-origins", "1", "--grace-quit-timeout", "60s", "--force-quit-timeout", "90s"]
    proxy = world.own(Server("proxy", [*ports(system_api=api), *flags], world.folder))

    def state():
        try:
            answer = get(api, "/api/v1/sluice/ready")
            return answer.status_code, answer.json().get("error")
        except OSError:
            return None
    assert poll(state, what="an answer") == (503, "starting")
    assert get(api, "/api/v1/versions").status_code == 200
    proxy.api = api
    world.origin([proxy])
    proxy.ready()
    for address in (proxy.api, proxy.http_api):
        assert get(address, "/api/v1/sluice/ready").json() == {"code": 0, "ready": True}
    publisher = world.hold(LivePublisher(proxy.rtmp, "live", "s", Content("s"))).go()
    publisher.await_sent_more(5)
    proxy.send_signal(signal.SIGTERM)
    proxy.await_event("stopping")
    for address in (proxy.api, proxy.http_api):
        answer = get(address, "/api/v1/sluice/ready")
        assert (answer.status_code, answer.json()["error"]) == (503, "stopping")
        assert get(address, "/api/v1/versions").status_code == 200
    publisher.await_sent_more(5)
    publisher.freeze().close()
    assert proxy.await_exit() == 0


@pytest.mark.parametrize("drained", [True, False], ids=["drained", "stopped"])
def test_origins_one_after_another(world, drained):
    """Each is emptied (or just stopped: then its streams fail over), stopped, and started again under its name: every packet once."""
    stage = Stage(world, origins=3, streams=6, viewers=2)
    for server_id in ("o1", "o2", "o3"):
        if drained:
            assert drain(stage.proxy.api, server_id).status_code == 200
            poll(lambda: not stage.at(server_id), what=f"streams to leave {server_id}")
        blow = stage.strike(server_id, number=signal.SIGTERM)
        stage.await_back(blow)
        assert stage.origins[server_id].await_exit() == 0
        stage.start_origin(server_id)
        if drained:
            drain(stage.proxy.api, server_id, on=False)
        stage.await_flowing()
        stage.check()
