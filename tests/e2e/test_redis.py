"""Several proxies that share a Redis: they agree on everything, and whatever one knows all know."""
import json
import os
import signal
import sys
import threading
import time
import urllib.parse

import pytest
import requests

from lib import figures, net
from lib.fake_origin import FakeOrigin
from lib.figures import wall
from lib.http_live import FlvViewer
from lib.live import Auditor, Content, LivePublisher
from lib.proxies import KEY, Fleet, everybody_knows
from lib.rtmp import Closed, Refused
from lib.sluice import cluster_state, drain, get, register, registration
from lib.waiting import poll


@pytest.fixture(scope="module")
def fleet(shared_world):
    """Three proxies and two origins, each of which registers with one proxy."""
    store = shared_world.redis()
    # Publishers that win a race send nothing: they stay.
    made = Fleet(shared_world, store.settings(), count=3, origins=2, origin={"publisher_idle": "60s"}, play_wait="2s")
    made.redis = store.client
    return made


def expiring(client, key):
    return 0 < client.pttl(key)


# -- publish here, play there --------------------------------------------------------------------------------------------


def test_publish_through_one_play_through_any(fleet, stream):
    live = fleet.publish(stream, via=0)
    flv = [fleet.world.hold(FlvViewer(p.http, f"/live/{stream}.flv")) for p in fleet.proxies]
    live.await_flowing()
    last = live.publisher.last_sent()
    for viewer in flv:
        viewer.await_seen(last)
    live.check()


def test_a_viewer_who_was_there_before_the_publisher(fleet, stream):
    """He waits at another proxy, and is answered when the owner is announced, not when his wait ends."""
    patient = fleet.world.proxy(**{**fleet.settings, "play_wait": "60s"})
    everybody_knows([patient], fleet.origins.values())
    viewer = fleet.world.hold(Auditor(patient.rtmp, "live", stream, wait=False))
    poll(lambda: cluster_state(patient.api)["waiting"] >= 1, what="the waiting viewer")
    publisher = fleet.world.hold(LivePublisher(fleet.proxies[1].rtmp, "live", stream, Content(stream, gop_seconds=15))).go()
    poll(lambda: publisher.sent, what="media")
    viewer.await_seen(publisher.sent[-1])
    viewer.close()
    assert patient.stop() == 0


def test_hls_through_a_third(fleet, stream):
    """Master playlist through one proxy, media playlist through the second, segments through the third: the same bytes from each."""
    live = fleet.publish(stream, via=0, viewers=[0], gop_seconds=1.0)
    first, second, third = [f"http://{p.http}" for p in fleet.proxies]
    master = requests.get(f"{first}/live/{stream}.m3u8", timeout=20)
    assert master.status_code == 200, master.text
    media = urllib.parse.urljoin(f"/live/{stream}.m3u8", [x for x in master.text.splitlines() if x and not x.startswith("#")][0])
    listed = requests.get(second + media, timeout=20)
    assert listed.status_code == 200, listed.text
    segments = [urllib.parse.urljoin(media, x) for x in listed.text.splitlines() if x and not x.startswith("#")]
    got = [requests.get(base + segments[-1], timeout=20) for base in (third, first, second)]
    assert [g.status_code for g in got] == [200] * 3
    assert len({g.content for g in got}) == 1 and got[0].content
    live.check()


# -- what stands in Redis ------------------------------------------------------------------------------------------------


def test_keys_as_srs_has_them(fleet, stream):
    """SRS's Go proxies read them: origins, their list, the stream's origin; all but the list expire."""
    fleet.publish(stream, via=1, viewers=[]).await_flowing()
    origin = fleet.origins[poll(lambda: fleet.owner(stream), what="an owner")]
    server = f"srs-proxy-server:{origin.incarnation}"
    assert fleet.redis.get(f"srs-proxy-url:{KEY.format(stream)}") == server
    assert expiring(fleet.redis, f"srs-proxy-url:{KEY.format(stream)}")
    assert set(json.loads(fleet.redis.get("srs-proxy-all-servers"))) == {f"srs-proxy-server:{o.incarnation}" for o in fleet.origins.values()}
    entry = json.loads(fleet.redis.get(server))
    host, port = net.split_address(origin.rtmp)
    assert (entry["ip"], entry["rtmp"], entry["pid"]) == (host, [str(port)], str(origin.pid))
    assert entry["server_id"] + "-" + entry["service_id"] + "-" + entry["pid"] == origin.incarnation and entry["update_at"]
    assert 0 < fleet.redis.ttl(server) <= 300
    own = f"sluice-own:{{srs-proxy-url:{KEY.format(stream)}}}"
    assert json.loads(fleet.redis.get(own))["origin"] == origin.incarnation and expiring(fleet.redis, own)


def test_bogus_urls_leave_nothing(fleet, stream):
    before = set(fleet.redis.keys())
    for number, proxy in enumerate(fleet.proxies):
        for extension in ("flv", "ts", "m3u8"):
            assert get(proxy.http, f"/live/{stream}-{number}.{extension}", timeout=20).status_code == 404
        for app, name in (("live", f"{stream}-x"), ("live/..", "y"), ("live", "a{b}")):
            with pytest.raises((Refused, Closed)):
                fleet.world.player(proxy.rtmp, app=app, name=name)
    assert set(fleet.redis.keys()) - before == set()


def test_the_password_is_nowhere(world):
    """Right or wrong, it is in no line of a log; without it the proxy says what is wrong, and works on its own until it is right."""
    store = world.redis(password="s3cret-of-redis")
    good = world.proxy(**store.settings())
    poll(lambda: store.client.exists("sluice-proxies"), what="a proxy that has made itself known")
    bad = world.proxy(env={"PROXY_REDIS_PASSWORD": "wr0ng-of-redis"}, **{k: v for k, v in store.settings().items() if k != "redis_password"})
    said = bad.await_event("redis_unavailable")
    assert said["level"] in ("warn", "error") and str(store.port) in json.dumps(said)
    world.origin([bad], server_id="own")
    world.publisher(bad.rtmp, name="alone")
    for proxy in (good, bad):
        assert "of-redis" not in proxy.output


def test_a_prefix_keeps_clusters_apart(world):
    store = world.redis()
    one, other = [world.proxy(redis_key_prefix=p, **store.settings()) for p in ("a", "b")]
    origin = world.origin([one], server_id="o1")
    poll(lambda: len(cluster_state(one.api)["origins"]) == 1 and store.client.exists("a:srs-proxy-all-servers"), what="an origin of the one")
    world.publisher(one.rtmp, name="s")
    assert cluster_state(other.api)["origins"] == {}
    assert all(k.startswith(("a:", "b:")) for k in store.client.keys()), store.client.keys()
    assert origin.alive


# -- SRS's Go proxies beside ours ----------------------------------------------------------------------------------------


class GoProxy:
    """What a Go proxy of SRS does with the keys: registers origins, and chooses one for a stream by GET, then SET without a life."""

    def __init__(self, client):
        self.client = client

    def register(self, port, server="go1"):
        key = f"srs-proxy-server:{server}-svc-1"
        self.client.set(key, json.dumps({"ip": net.LOOPBACK, "device_id": server, "server_id": server, "service_id": "svc", "pid": "1",
                                         "rtmp": [str(port)], "update_at": "2026-11-26T10:41:32.629078+08:00"}), ex=300)
        listed = json.loads(self.client.get("srs-proxy-all-servers") or "[]")
        self.client.set("srs-proxy-all-servers", json.dumps([*listed, key]))
        return key

    def pick(self, name, server_key):
        key = f"srs-proxy-url:{KEY.format(name)}"
        if not self.client.get(key):
            self.client.set(key, server_key)
        return self.client.get(key)


@pytest.fixture
def mixed(world):
    """A proxy of ours, and a Go proxy with two origins on the same Redis."""
    store = world.redis()
    go, fakes = GoProxy(store.client), [FakeOrigin(), FakeOrigin()]
    keys = [go.register(f.port, f"go{n}") for n, f in enumerate(fakes)]
    proxy = world.proxy(play_wait="2s", **store.settings())
    poll(lambda: len([o for o in cluster_state(proxy.api)["origins"].values() if o["state"] == "alive"]) == 2, what="origins of the Go proxy")
    yield proxy, go, fakes, keys
    for fake in fakes:
        fake.close()


@pytest.mark.parametrize("chosen", [0, 1])
def test_a_go_proxys_choice_is_followed(world, mixed, chosen):
    """Its origin gets the publisher, and the viewers."""
    proxy, go, fakes, keys = mixed
    go.pick("theirs", keys[chosen])
    world.publisher(proxy.rtmp, name="theirs")
    world.player(proxy.rtmp, name="theirs")
    assert [len(f.sessions) for f in fakes] == ([2, 0] if chosen == 0 else [0, 2])


def test_a_player_follows_it_too(world, mixed):
    proxy, go, fakes, keys = mixed
    go.pick("watched", keys[1])
    world.player(proxy.rtmp, name="watched")
    assert [len(f.sessions) for f in fakes] == [0, 1]


def test_and_it_follows_ours(world, mixed):
    proxy, go, fakes, keys = mixed
    world.publisher(proxy.rtmp, name="ours")
    (mine,) = [k for k, f in zip(keys, fakes) if f.sessions]
    (other,) = [k for k in keys if k != mine]
    assert go.pick("ours", other) == mine


def test_a_go_proxys_choice_that_is_gone_is_replaced(world, mixed):
    proxy, go, fakes, keys = mixed
    go.pick("stale", "srs-proxy-server:gone-svc-9")
    world.publisher(proxy.rtmp, name="stale")
    assert sum(len(f.sessions) for f in fakes) == 1
    assert go.pick("stale", "x") in keys


# -- one truth -----------------------------------------------------------------------------------------------------------


def race(fleet, name, vias):
    """Publishers of one stream through several proxies in the same instant: who was let in."""
    start, outcome = threading.Barrier(len(vias)), []

    def publish(via):
        try:
            start.wait()
            publisher = fleet.world.publisher(fleet.proxies[via].rtmp, name=name)
            outcome.append((via, publisher))
        except (Refused, Closed) as error:
            outcome.append((via, error))
    threads = [threading.Thread(target=publish, args=(via,)) for via in vias]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [p for _, p in outcome if not isinstance(p, Exception)]


def agree(fleet, count, vias, stream):
    for n in range(count):
        name = f"{stream}-{n}"
        winners = race(fleet, name, vias)
        assert len(winners) == 1, f"{len(winners)} publish {name}"
        def holders():
            return [i for i, o in fleet.origins.items() if o.find("session_start", kind="publish", stream=KEY.format(name))]
        poll(holders, what="an origin that says that it has the stream")
        record = json.loads(fleet.redis.get(f"sluice-own:{{srs-proxy-url:{KEY.format(name)}}}"))
        assert [fleet.origins[i].incarnation for i in holders()] == [record["origin"]]
        winners[0].close()


@pytest.mark.parametrize("vias", [(0, 1), (0, 1, 2)], ids=["two", "three"])
def test_one_wins_a_race(fleet, stream, vias):
    agree(fleet, 15, vias, stream)


@pytest.mark.soak
@pytest.mark.parametrize("vias", [(0, 1), (0, 1, 2)], ids=["two", "three"])
def test_one_wins_each_of_many_races(fleet, stream, vias):
    agree(fleet, int(os.environ.get("REDIS_RACES", "1000")), vias, stream)


def test_all_show_the_same_picture(fleet, stream):
    live = fleet.publish(stream, via=1)
    live.await_flowing()

    def pictures():
        states = [cluster_state(p.api) for p in fleet.proxies]
        return [({p["id"] for p in s["proxies"] if p["answered"]}, {i: o["state"] for i, o in s["origins"].items()},
                 {k: s["streams"].get(KEY.format(stream), {}).get(k) for k in ("owner", "epoch", "publisher", "viewers", "degraded")}) for s in states]

    def same():
        first, *others = pictures()
        return len(first[0]) == 3 and first[2]["viewers"] == 3 and first[2]["publisher"] and all(o == first for o in others)
    poll(same, what="the same picture at all proxies", every=0.2)
    for proxy in fleet.proxies:
        def told():  # by the proxy of the publisher, if that answers in time
            story = get(proxy.api, f"/api/v1/sluice/explain?stream=live/{stream}").json()
            return [e["what"] for e in story["events"]][:2] == ["owner", "published"] and story["stream"]["publisher"]
        poll(told, what=f"the story at {proxy.name}", every=0.2)
    live.check()


def test_a_drain_at_one_proxy_counts_at_all(world):
    store = world.redis()
    fleet = Fleet(world, store.settings(), count=2, origins=2)
    lives = [fleet.publish(f"s{n}", via=n % 2) for n in range(6)]
    fleet.await_flowing()
    victim = poll(lambda: fleet.owner("s0"), what="an owner")
    assert drain(fleet.proxies[1].api, victim).status_code == 200
    (other,) = [i for i in fleet.origins if i != victim]
    poll(lambda: all(fleet.owner(live.name) == other for live in lives), what="all streams at the other origin")
    late = fleet.start_proxy()  # hears of it from the store
    poll(lambda: cluster_state(late.api)["origins"].get(victim, {}).get("draining"), what="the drain at a new proxy")
    drain(fleet.proxies[0].api, victim, on=False)
    for proxy in fleet.proxies:
        poll(lambda: not cluster_state(proxy.api)["origins"][victim]["draining"], what="its end")
    fleet.await_flowing()
    fleet.check()


# -- deaths --------------------------------------------------------------------------------------------------------------


def test_a_failover_is_led_by_the_publishers_proxy(world):
    """The others follow him, most by what he announces; every viewer of every proxy gets every packet once."""
    fleet = Fleet(world, world.redis().settings(), count=3, origins=3)
    lives = [fleet.publish(f"s{n}", via=n % 3) for n in range(6)]
    fleet.await_flowing()
    victim = poll(lambda: fleet.owner("s0"), what="an owner")
    touched = [live for live in lives if fleet.owner(live.name) == victim]
    marks = [len(p.events) for p in fleet.proxies]
    fleet.origins[victim].kill()
    lags, told = [], []
    for live in touched:
        key = KEY.format(live.name)
        led = fleet.proxies[live.via].await_event("owner_changed", since=marks[live.via], stream=key)
        for number, proxy in enumerate(fleet.proxies):
            followed = proxy.await_event("owner_changed", since=marks[number], stream=key)
            assert followed["origin"] == led["origin"] and followed["epoch"] == led["epoch"]
            if proxy is not fleet.proxies[live.via]:
                lags.append(abs(wall(followed) - wall(led)))
                told.append(followed["reason"])
    assert max(lags) < figures.BOUND, lags
    # With the next heartbeat, or when they ask the store, they would know as well.
    assert "announced" in told, told
    del fleet.origins[victim]
    fleet.await_flowing()
    fleet.check()


def test_a_proxy_dies_and_only_its_own_clients_notice(world):
    """Its encoder comes back through another proxy, to the same origin; viewers of other proxies stay, and see it go on."""
    fleet = Fleet(world, world.redis().settings(), count=2, origins=3)
    mine, other = fleet.publish("mine", via=0, viewers=[1]), fleet.publish("other", via=1, viewers=[1])
    fleet.await_flowing()
    owner = poll(lambda: fleet.owner("mine"), what="an owner")
    fleet.proxies[0].kill()
    mine.publisher.await_close()
    again = world.hold(LivePublisher(fleet.proxies[1].rtmp, "live", "mine", Content("mine2", gop_seconds=15))).go()
    poll(lambda: again.sent, what="media")
    mine.viewers[0].await_seen(again.sent[-1])
    assert fleet.owner("mine") == owner and mine.viewers[0].closed is None
    other.await_flowing()
    other.check()


def test_a_ghost_gives_way_to_its_encoder_at_another_proxy(world):
    """The encoder's network is gone without a word: back through another proxy it publishes within some 3 s."""
    fleet = Fleet(world, world.redis().settings(), count=2, origins=2)
    relay = world.start([sys.executable, os.path.join(os.path.dirname(__file__), "lib", "tcp_relay.py"),
                         fleet.proxies[0].rtmp.rpartition(":")[2]], "relay")
    port = relay.await_line(r"^\d+$")
    ghost = world.hold(LivePublisher(f"127.0.0.1:{port}", "live", "s", Content("s")))
    viewer = world.hold(Auditor(fleet.proxies[1].rtmp, "live", "s"))
    ghost.go().await_sent_more(10)
    viewer.await_seen(ghost.sent[5])
    owner = poll(lambda: fleet.owner("s"), what="an owner")
    relay.send_signal(signal.SIGSTOP)
    ghost.freeze()

    def back():
        try:
            return world.hold(LivePublisher(fleet.proxies[1].rtmp, "live", "s", Content("back", gop_seconds=15)))
        except (Refused, Closed, OSError):
            return None
    silent = time.monotonic()
    again = poll(back, what="the encoder to be let in", every=0.2).go()
    assert time.monotonic() - silent < figures.BOUND
    poll(lambda: again.sent, what="media")
    viewer.await_seen(again.sent[-1])
    assert viewer.closed is None and fleet.owner("s") == owner


def test_a_late_proxy_knows_what_the_others_know(world):
    """It serves a running stream at once, though none of the origins has registered with it."""
    fleet = Fleet(world, world.redis().settings(), count=1, origins=2)
    live = fleet.publish("s")
    live.await_flowing()
    late = fleet.start_proxy()
    live.join(1)
    live.await_flowing()
    world.hold(LivePublisher(late.rtmp, "live", "new", Content("new")))
    everybody_knows([late], fleet.origins.values())
    fleet.check()


def test_stock_origins_registered_at_one_proxy_serve_all(world):
    store = world.redis()
    proxies = [world.proxy(play_wait="2s", **store.settings()) for _ in range(2)]
    fake = FakeOrigin()
    register(proxies[0].api, registration(fake.port, server="stock")).raise_for_status()
    poll(lambda: "stock" in cluster_state(proxies[1].api)["origins"], what="the origin at the other proxy")
    world.publisher(proxies[1].rtmp, name="s")
    world.player(proxies[0].rtmp, name="s")
    assert len(fake.sessions) == 2
    fake.close()


@pytest.mark.soak
def test_what_a_stream_at_rest_costs(world):
    """At most one command a minute for each stream that is published and watched through three proxies."""
    store = world.redis()
    fleet = Fleet(world, store.settings(), count=3, origins=2)
    for n in range(20):
        fleet.publish(f"s{n}", via=n % 3)
    fleet.await_flowing()
    poll(lambda: all('"published":true' in (store.client.get(f"sluice-own:{{srs-proxy-url:{KEY.format(live.name)}}}") or "") for live in fleet.streams),
         what="all streams to be known as published")
    seconds, count = float(os.environ.get("REDIS_REST_SECONDS", "300")), 0
    with store.client.monitor() as monitor:
        monitor.connection._sock.settimeout(5)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            event = monitor.next_command()  # what a script does inside is not counted again
            count += event["client_type"] != "lua" and "sluice-own:{" in event["command"]
    rate = count / (len(fleet.streams) * seconds / 60)
    print(f"commands for a stream and minute at rest: {rate:.2f}")
    assert rate <= 1
    fleet.check()
