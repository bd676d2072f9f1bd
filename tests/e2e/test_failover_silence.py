"""Who is silent and who is dead: half of the origins at once (row 41), a ghost publisher (row 40), an origin that was itself stopped (row 34)."""
import os
import signal
import sys
import time

import pytest

from lib import audit, figures, net, tcp_relay
from lib.heartbeats import Heartbeats
from lib.live import Auditor, Content, LivePublisher
from lib.rtmp import Closed, Refused
from lib.stage import LOST, Stage, resume
from lib.waiting import poll


@pytest.mark.parametrize("silence", [8, pytest.param(14, marks=pytest.mark.soak)])
@pytest.mark.parametrize("relay", ["auto", "per-viewer"])
def test_half_of_the_origins_fall_silent(world, relay, silence):
    """Row 41: two of four are stopped in the same moment: the fault is ours. Nothing moves; the streams of the others have no gap; on
    SIGCONT all goes on, every packet once."""
    stage = Stage(world, relay, streams=16, viewers=2)
    owners = stage.owners()
    victims = sorted(stage.origins, key=lambda i: len(stage.at(i)))[-2:]
    mark = len(stage.proxy.events)
    pids = [stage.origins[v].pid for v in victims]
    try:
        blow = stage.strike(*victims, number=signal.SIGSTOP)
        stage.proxy.await_event("mass_silence", since=mark)
        stage.play_on(max(0.5, silence - (stage.now() - blow.at)))  # well beyond the time after which one alone is dead
        stage.await_flowing(streams=blow.others)
        stage.check(streams=blow.others)
    finally:
        resume(*pids)
    stage.await_flowing()
    stage.play_on(1)
    stage.check()
    assert stage.owners() == owners, "streams moved"
    assert not [e for e in stage.proxy.events[mark:] if e["event"] in LOST]
    figures.report("half silent", relay=relay, origins="sluice", streams=16, touched=len(blow.touched),
                   others_stall_ms=stage.stalls(blow, blow.others))


class Gate:
    """The network in front of somebody: can swallow everything, so that nobody hears of it."""

    def __init__(self, world, address):
        self.process = world.start([sys.executable, tcp_relay.__file__, address.rpartition(":")[2]], "network")
        self.address = f"127.0.0.1:{self.process.await_line(r'^[0-9]+$')}"

    def vanish(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def back(self):
        resume(self.process.pid)


@pytest.mark.parametrize("relay", ["auto", "per-viewer"])
def test_ghost_publisher(world, relay):
    """Row 40: the encoder's node is gone without a FIN. Back through the proxy, it publishes within about 3 s; its viewers stay, and the
    ghost does not come back to fight for the stream."""
    stage = Stage(world, relay, origins=2, streams=1, viewers=1)
    gate = Gate(world, stage.proxy.rtmp)
    ghost = world.hold(LivePublisher(gate.address, "live", "ghost", Content("ghost")))
    viewers = [world.hold(Auditor(stage.proxy.rtmp, "live", "ghost")) for _ in range(2)]
    ghost.go()
    for viewer in viewers:
        viewer.await_count(30)
    gate.vanish()
    gone = time.monotonic()
    ghost.freeze()

    def attempt():
        try:
            return world.hold(LivePublisher(stage.proxy.rtmp, "live", "ghost", Content("back", start=60000)))
        except (Refused, Closed, OSError):
            return None
    back = poll(attempt, what="publish of the encoder that is back", every=0.1)
    took = time.monotonic() - gone
    figures.report("ghost publisher", relay=relay, origins="sluice", back_ms=[took])
    assert took < figures.BOUND
    back.go()
    for viewer in viewers:
        poll(lambda: len(back.sent) > 60 or back.closed, what="packets of the second run")
        assert back.closed is None, f"the encoder that came back was closed: {back.closed}"
        viewer.await_seen(back.sent[60])
        assert viewer.closed is None and not viewer.farewells()
    # Its node returns, with whatever was still on the way: it changes nothing.
    gate.back()
    count = len(back.sent)
    poll(lambda: len(back.sent) > count + 40 or back.closed, what="packets after the ghost's return")
    assert back.closed is None, f"the encoder that came back was closed: {back.closed}"
    last = back.freeze().last_sent()
    second = {e.digest for e in back.sent}
    for n, viewer in enumerate(viewers):
        viewer.await_seen(last)
        found = audit.Audit([e for e in viewer.seen if e.digest in second], back.published())
        assert not (found.lost or found.doubled or found.disordered), f"viewer {n}: {found.describe()}"
        first = [e for e in viewer.seen if e.digest not in second]
        audit.assert_exact(first, ghost.published(), f"viewer {n}, first run", whole=True)
        begin = next(i for i, e in enumerate(viewer.seen) if e.digest in second and e.role != "header")
        late = [e for e in viewer.seen[begin:] if e.digest not in second and e.role != "header"]
        assert not late, f"viewer {n} got {len(late)} packets of the ghost after those of its successor"
    stage.await_flowing()
    stage.check()


@pytest.mark.parametrize("relay", ["auto", "per-viewer"])
def test_blackhole(world, relay):
    """The network between proxy and origin swallows all RTMP, while the origin lives and its heartbeats still arrive: it is dead all the same,
    its streams move, and it drops its copies as soon as it is told, before the network is back."""
    proxy = world.proxy(relay=relay)
    origin = world.origin(server_id="o1", rtmp=f"127.0.0.1:{net.free_port()}")
    gate = Gate(world, origin.rtmp)
    beats = Heartbeats(proxy.api, gate.address)
    origin.stop()
    origin = world.origin(server_id="o1", rtmp=origin.rtmp, register=f"http://{beats.address}/api/v1/srs/register")
    proxy.await_event("origin_added")
    publishers = [world.hold(LivePublisher(proxy.rtmp, "live", f"s{n}", Content(f"s{n}"))) for n in range(4)]
    viewers = [world.hold(Auditor(proxy.rtmp, "live", p.name)) for p in publishers for _ in range(2)]
    direct = world.hold(Auditor(origin.rtmp, "live", "s0"))
    for publisher in publishers:
        publisher.go()
    for viewer in (*viewers, direct):
        viewer.await_count(20)
    heir = world.origin([proxy], server_id="o2")
    gate.vanish()
    gone, beaten = time.monotonic(), beats.count
    heir.await_event("session_start", kind="publish", count=4)
    took = time.monotonic() - gone
    poll(lambda: origin.metrics().total("sluice_streams") == 0, what="the fence")
    fenced = time.monotonic()
    assert beats.count > beaten, "no heartbeat came in the meantime"
    publishers[0].await_sent_more(20)
    gate.back()
    publishers[0].await_sent_more(20)
    ends = {p.name: p.freeze().last_sent() for p in publishers}
    for viewer in viewers:
        viewer.await_seen(ends[viewer.name])
        published = next(p for p in publishers if p.name == viewer.name).published()
        audit.assert_exact(viewer.seen, published, f"viewer of {viewer.name}", whole=True)
        assert viewer.closed is None and not viewer.farewells()
    assert not [e for e in direct.seen if e.at > fenced and e.role != "header"], "an origin that was fenced served its own viewer"
    assert not [p for p in publishers if p.closed]
    figures.report("blackhole", relay=relay, origins="sluice", streams=4, back_ms=[took], stall_ms=[v.stall(gone) for v in viewers])
    assert took < figures.BOUND
    beats.close()


def test_stopped_origin_says_nothing_new(world):
    """Row 34: an origin that was stopped for 5 s, with a viewer of its own: what it finds in its sockets when it runs again is old, and the
    stream is elsewhere. The viewer gets nothing new from it."""
    stage = Stage(world, origins=3, streams=6, viewers=1)
    victim = stage.busiest()
    origin = stage.origins[victim]
    stream = stage.at(victim)[0]
    direct = world.hold(Auditor(origin.rtmp, "live", stream.name))
    direct.await_count(20)
    blow = stage.strike(victim, number=signal.SIGSTOP)
    try:
        stage.await_back(blow)
        stage.play_on(max(0.5, 5 - (stage.now() - blow.at)))
    finally:
        resumed, mark = time.monotonic(), len(stage.proxy.events)
        resume(origin.pid)
    stage.proxy.await_event("origin_back", since=mark, origin=origin.incarnation)
    stage.play_on(3)
    late = [e for e in list(direct.seen) if e.at > resumed and e.role != "header"]
    assert not late, f"{len(late)} packets came from an origin that had been given up, the first {late[0].at - resumed:.3f} s after it ran again"
    stage.await_flowing()
    stage.check()


def test_stopped_origin_waits_for_a_word(world):
    """Row 34: the only origin and the proxy are both stopped; the origin runs again first. Its own publisher's media is not handed to its
    own viewer until the proxy has confirmed its epochs; then all of it is."""
    proxy = world.proxy()
    origin = world.origin([proxy], server_id="o1")
    publisher = world.hold(LivePublisher(origin.rtmp, "live", "s", Content("s")))
    viewer = world.hold(Auditor(origin.rtmp, "live", "s"))
    publisher.go()
    viewer.await_count(40)
    os.kill(proxy.pid, signal.SIGSTOP)
    os.kill(origin.pid, signal.SIGSTOP)
    frozen = time.monotonic()
    try:
        poll(lambda: publisher.sent[-1].at >= frozen + 4.2, what="4 s of media")
        resumed = time.monotonic()
        resume(origin.pid)
        until = publisher.sent[-1].timestamp + 1000
        poll(lambda: publisher.sent[-1].timestamp >= until, what="another second of media")
        early = [e for e in list(viewer.seen) if e.at > resumed]
        sent_before = {e.digest for e in publisher.published() if e.at < resumed - 3.9}
        news = [e for e in early if e.digest not in sent_before]
        assert not news, f"{len(news)} packets came before anybody had confirmed the epochs"
    finally:
        resume(proxy.pid, origin.pid)
    last = publisher.last_sent()
    viewer.await_seen(last)
    assert publisher.closed is None and viewer.closed is None
    audit.assert_exact(list(viewer.seen), publisher.published(), whole=True)


def test_origin_without_proxies_goes_on(world):
    """The contrast: an origin that was not stopped, but reaches no proxy, serves on."""
    proxy = world.proxy()
    origin = world.origin([proxy], server_id="o1")
    publisher = world.hold(LivePublisher(origin.rtmp, "live", "s", Content("s")))
    viewer = world.hold(Auditor(origin.rtmp, "live", "s"))
    publisher.go()
    viewer.await_count(20)
    proxy.kill()
    origin.await_event("register_failed")
    until = publisher.sent[-1].timestamp + 1000
    poll(lambda: publisher.sent[-1].timestamp >= until, what="a second of media")
    viewer.await_seen(publisher.freeze().last_sent())
    audit.assert_exact(viewer.seen, publisher.published(), whole=True)
