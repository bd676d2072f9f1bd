"""Redis fails while streams run and new ones start all the time: no live stream is touched, new ones are served, and afterwards all agree."""
import contextlib
import json
import os
import subprocess
import sys
import threading
import time

from lib.live import Auditor, Content, LivePublisher
from lib.proxies import KEY, Fleet
from lib.redis import Guarded, Sharded
from lib.sluice import cluster_state, drain
from lib.waiting import poll

SOAK = os.environ.get("REDIS_SOAK") == "1"
STREAMS = 50 if SOAK else 8


class Starter:
    """Starts a stream every `every` seconds, through one proxy after the other, each with a viewer at the same proxy."""

    def __init__(self, fleet, every=1.0 if SOAK else 0.4):
        self.fleet, self.every, self.failures, self.lives = fleet, every, [], []
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        number = 0
        while not self._halt.wait(self.every):
            via = number % len(self.fleet.proxies)
            try:
                self.lives.append(self.fleet.publish(f"new{number}", via=via, viewers=[via]))
            except Exception as error:  # noqa: BLE001 - whatever it was, a new publish was not served
                self.failures.append((number, repr(error)))
            number += 1

    def stop(self):
        self._halt.set()
        self._thread.join()

    def check(self):
        assert not self.failures, f"{len(self.failures)} of {len(self.failures) + len(self.lives)} new publishes were refused: {self.failures[:3]}"
        assert len(self.lives) >= 2


@contextlib.contextmanager
def load(world, settings, **options):
    """STREAMS streams with a viewer at each of two proxies, and new ones all the while. At the end: every packet, once."""
    fleet = Fleet(world, settings, count=2, origins=3, **options)
    for n in range(STREAMS):
        fleet.publish(f"s{n}", via=n % 2)
    fleet.await_flowing()
    starter = Starter(fleet)
    try:
        yield fleet
    finally:
        starter.stop()
    starter.check()
    fleet.await_flowing()
    fleet.check()


def redis_up(proxy):
    return proxy.metrics().total("sluice_redis_up") == 1


def await_up(fleet, up=True):
    for proxy in fleet.proxies:
        poll(lambda: redis_up(proxy) == up, what=f"{proxy.name} to {'find' if up else 'miss'} Redis", every=0.1)


def await_agreement(fleet, lookup):
    """Every stream stands in the store with the owner where its publisher is, and all proxies know that."""
    streams = list(fleet.streams)  # new ones start meanwhile

    def owner(live):
        """What its origin says; None as long as that has not been read."""
        server_id = fleet.owner(live.name)
        return fleet.origins[server_id].incarnation if server_id else None

    def stored(live):
        text = lookup(f"sluice-own:{{srs-proxy-url:{KEY.format(live.name)}}}")
        return text and json.loads(text)["origin"] == owner(live)

    def known(proxy):
        state = cluster_state(proxy.api)["streams"]
        return all(state.get(KEY.format(live.name), {}).get("owner") == owner(live) for live in streams)
    began = time.monotonic()
    poll(lambda: all(stored(live) for live in streams), what="the store to know all owners again", every=0.05)
    print(f"{len(streams)} streams agreed {time.monotonic() - began:.2f} s after Redis was back")
    for proxy in fleet.proxies:
        poll(lambda: known(proxy), what=f"{proxy.name} to know all owners", every=0.1)
    for live in streams:
        live.join(1 - live.via)


def play_on(fleet, seconds):
    sent = fleet.streams[0].publisher.sent
    until = sent[-1].timestamp + 1000 * seconds
    poll(lambda: sent[-1].timestamp >= until, seconds + 20, f"{seconds} s of media")


def test_redis_is_killed_and_comes_back_empty(world):
    store = world.redis()
    with load(world, store.settings()) as fleet:
        store.kill()
        await_up(fleet, False)
        play_on(fleet, 4)
        again = world.redis(port=store.port)
        await_up(fleet)
        await_agreement(fleet, again.client.get)


def test_redis_is_frozen_for_seconds(world):
    store = world.redis()
    with load(world, store.settings()) as fleet:
        store.freeze()
        play_on(fleet, 5)
        store.resume()
        await_up(fleet)
        await_agreement(fleet, store.client.get)


def test_redis_forgets_everything(world):
    store = world.redis()
    with load(world, store.settings()) as fleet:
        for _ in range(3):
            store.client.flushall()
            play_on(fleet, 0.7)
        await_agreement(fleet, store.client.get)
        poll(lambda: len(json.loads(store.client.get("srs-proxy-all-servers") or "[]")) == 3, what="the list of origins")


def test_redis_becomes_read_only(world):
    master, store = world.redis(name="other"), world.redis()
    with load(world, store.settings()) as fleet:
        store.client.config_set("replica-read-only", "yes")
        store.client.execute_command("REPLICAOF", "127.0.0.1", master.port)
        play_on(fleet, 3)
        store.client.execute_command("REPLICAOF", "NO", "ONE")
        await_up(fleet)
        await_agreement(fleet, store.client.get)


def test_redis_is_slow(world):
    """Answers come after 200 ms, then after 5 s: the first is borne, the second is as good as none."""
    store = world.redis()
    relay = world.start([sys.executable, os.path.join(os.path.dirname(__file__), "lib", "slow_relay.py"), store.port, 0], "slow relay",
                        stdin=subprocess.PIPE)
    port = relay.await_line(r"^\d+$")
    with load(world, {**store.settings(), "redis_port": port}) as fleet:
        relay.say("200")
        play_on(fleet, 3)
        relay.say("5000")
        play_on(fleet, 6)
        relay.say("0")
        await_up(fleet)
        await_agreement(fleet, store.client.get)


def test_redis_is_not_there_at_the_start(world):
    """That is said, and retried; what was published meanwhile is known once it is there."""
    store = world.redis()
    settings, port = store.settings(), store.port
    store.kill()
    proxies = [world.proxy(play_wait="2s", **settings) for _ in range(2)]
    for proxy in proxies:
        assert str(port) in proxy.await_event("redis_unavailable")["peer"]
    origin = world.origin([proxies[0], proxies[1]])
    publisher = world.hold(LivePublisher(proxies[0].rtmp, "live", "s", Content("s"))).go()
    again = world.redis(port=port)
    for proxy in proxies:
        proxy.await_event("redis_connected")
    poll(lambda: again.client.get(f"srs-proxy-url:{KEY.format('s')}"), what="the stream in the store")
    viewer = world.hold(Auditor(proxies[1].rtmp, "live", "s", wait=False))
    viewer.await_count(1)
    viewer.await_seen(publisher.last_sent())
    assert origin.alive


def test_sentinels_promote_a_replica(world):
    guarded = Guarded(world)
    with load(world, guarded.settings()) as fleet:
        old = guarded.master
        old.kill()
        poll(lambda: guarded.master is not old, timeout=60, what="another master")  # a sentinel that was held up does nothing for 30 s
        await_up(fleet)
        await_agreement(fleet, guarded.master.client.get)


def test_a_failover_loses_the_last_writes(world):
    """The replica is cut off from its master while streams start, and then becomes the master."""
    guarded = Guarded(world)
    with load(world, guarded.settings()) as fleet:
        old, replica = guarded.servers
        old.client.config_set("repl-timeout", 3600)
        replica.freeze()  # what is written from now on does not reach it
        play_on(fleet, 0.4)
        old.kill()
        replica.resume()
        poll(lambda: guarded.master is replica, timeout=60, what="the replica to be the master")
        await_up(fleet)
        await_agreement(fleet, replica.client.get)


def test_a_cluster_loses_a_master(world):
    sharded = Sharded(world)
    with load(world, sharded.settings()) as fleet:
        key = f"srs-proxy-url:{KEY.format('s0')}"
        victim = sharded.master_of(key)
        victim.kill()
        poll(lambda: sharded.master_of(key) is not victim, what="a replica in its place", every=0.2)
        await_up(fleet)
        await_agreement(fleet, sharded.client.get)


def test_an_origin_dies_while_redis_is_away(world):
    """The publisher's proxy moves its streams without a store; viewers of the other proxy follow when they can, none is disconnected."""
    store = world.redis()
    fleet = Fleet(world, store.settings(), count=2, origins=3)
    lives = [fleet.publish(f"s{n}", via=n % 2) for n in range(4)]
    fleet.await_flowing()
    store.kill()
    await_up(fleet, False)
    victim = fleet.owner("s0")
    fleet.origins[victim].kill()
    del fleet.origins[victim]
    for live in lives:
        poll(lambda: fleet.owner(live.name), what="a living owner")
    world.redis(port=store.port)
    await_up(fleet)
    fleet.await_flowing()
    fleet.check()


def test_streams_that_start_while_redis_is_away_are_found_by_all(world):
    """By what origins tell, or by the rule by which they were placed."""
    store = world.redis()
    fleet = Fleet(world, store.settings(), count=2, origins=3)
    store.kill()
    await_up(fleet, False)
    for n in range(8):
        fleet.publish(f"s{n}", via=n % 2, gop_seconds=30)  # who finds it by the next heartbeat gets all of it, too
    fleet.await_flowing()
    fleet.check()


def draining(proxy):
    return {i for i, o in cluster_state(proxy.api)["origins"].items() if o["draining"]}


def await_drains(fleet, store, wanted):
    """All proxies, and the store, hold these origins for drained, and only these."""
    poll(lambda: all(draining(p) == wanted for p in fleet.proxies) and set(store.client.hkeys("sluice-drains")) == wanted,
         what=f"{wanted or 'nobody'} drained everywhere")


def test_a_drain_in_a_stall_is_not_lost(world):
    """Redis does not answer for so short that nobody calls it away: what operators say then reaches the store and the other proxies all the
    same, whatever they said before."""
    store = world.redis()
    fleet = Fleet(world, store.settings(), count=2, origins=3)
    drain(fleet.proxies[0].api, "o1")
    await_drains(fleet, store, {"o1"})

    marks = [len(p.events) for p in fleet.proxies]
    store.freeze()
    try:
        assert drain(fleet.proxies[0].api, "o1", on=False).json()["shared"]
        assert drain(fleet.proxies[1].api, "o2").status_code == 200
        for proxy, mark, server in zip(fleet.proxies, marks, ("o1", "o2")):
            proxy.await_event("drain_unwritten", since=mark, server=server)
    finally:
        store.resume()
    await_drains(fleet, store, {"o2"})
    fleet.proxies[0].await_event("drain_begun", server="o2")
    fleet.proxies[1].await_event("drain_undone", server="o1")
    assert [{e["server"] for e in p.find("drain_unwritten", since=mark)} for p, mark in zip(fleet.proxies, marks)] == [{"o1"}, {"o2"}]
    begun = [[(e["event"], e["server"], e["by"]) for e in p.events if e["event"] in ("drain_begun", "drain_undone")] for p in fleet.proxies]
    assert begun[0] == [("drain_begun", "o1", "operator"), ("drain_undone", "o1", "operator"), ("drain_begun", "o2", "store")], begun
    assert set(begun[1]) == {("drain_begun", "o1", "store"), ("drain_undone", "o1", "store"), ("drain_begun", "o2", "operator")}, begun


def test_the_later_word_about_a_drain_counts(world):
    """One proxy hears, while Redis is dead, that a drain is undone; the store that comes back is empty: the other one's older word does not
    come back with it."""
    store = world.redis()
    fleet = Fleet(world, store.settings(), count=2, origins=2)
    drain(fleet.proxies[0].api, "o1")
    await_drains(fleet, store, {"o1"})
    store.kill()
    await_up(fleet, False)
    drain(fleet.proxies[0].api, "o1", on=False)
    assert draining(fleet.proxies[1]) == {"o1"}, "it cannot know"
    again = world.redis(port=store.port)
    await_up(fleet)
    poll(lambda: again.client.hexists("sluice-undone:{sluice-drains}", "o1"), what="the later word in the store")
    await_drains(fleet, again, set())
    drain(fleet.proxies[1].api, "o1")
    await_drains(fleet, again, {"o1"})
