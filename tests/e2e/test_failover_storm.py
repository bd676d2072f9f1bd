"""Row 38: an origin dies that had all the streams there are."""
import os
import resource
import signal
import time

import pytest

from lib import figures
from lib.audit import assert_exact
from lib.crowd import Crowd
from lib.figures import wall
from lib.live import Auditor, LivePublisher
from lib.sluice import UNHURRIED
from lib.stage import LOST
from lib.waiting import poll


def storm(world, streams, viewers, event, **options):
    """`streams` light streams at one origin, `viewers` players each, collapsed; the origin is killed, three others take over. `options`: of the proxy."""
    proxy = world.proxy(**options)
    victim = world.origin([proxy], server_id="o1")
    publishers = world.own(Crowd("publish", proxy.rtmp, streams, streams, "--light"))
    publishers.await_ready()
    players = world.own(Crowd("play", proxy.rtmp, streams * viewers, streams))
    players.await_ready()
    heirs = [world.origin([proxy], server_id=f"o{n}") for n in (2, 3, 4)]
    # Bystanders of the other origins: drained of chance, so many that each has one.
    calm = [world.hold(LivePublisher(proxy.rtmp, "live", f"calm{n}")) for n in range(4)]
    watching = [world.hold(Auditor(proxy.rtmp, "live", p.name)) for p in calm]
    for publisher in calm:
        publisher.go()
    at_heirs = [p.name for p in calm if any(h.find("session_start", kind="publish", stream=f"__defaultVhost__/live/{p.name}") for h in heirs)]
    players.await_flowing()
    players.reset()
    mark, killed, struck = len(proxy.events), time.time(), time.monotonic()
    os.kill(victim.pid, signal.SIGKILL)

    def taken():
        sent = publishers.mark()
        assert sent["lost"] == 0, f"publishers were disconnected: {sent}"
        return [wall(e) for h in heirs for e in h.find("session_start", kind="publish", stream=lambda s: "/crowd" in s)]
    back = poll(lambda: len(t := taken()) >= streams and t, 60, "all streams at other origins", every=0.1)
    line = players.await_flowing()
    assert line["lost"] == 0, f"viewers were disconnected: {line}"
    assert line["messages_lost"] == 0 and line["messages_again"] == 0, f"packets were lost or came twice: {line}"
    assert publishers.mark()["lost"] == 0
    lost = {e["origin"] for e in proxy.events[mark:] if e["event"] in LOST}
    assert all(origin.startswith("o1-") for origin in lost) and lost, f"lost {lost}"
    for publisher, viewer in zip(calm, watching):
        viewer.await_seen(publisher.freeze().last_sent())
        assert publisher.closed is None and viewer.closed is None
        assert_exact(viewer.seen, publisher.published(), f"viewer of {publisher.name}", whole=True)
    figures.report(event, relay="collapse", origins="sluice", streams=streams, viewers=streams * viewers,
                   back_ms=[t - killed for t in back],
                   stall_ms={"count": line["pause_count"], "median": round(line["pause_p50_ms"]), "p99": round(line["pause_p99_ms"]),
                             "worst": round(line["pause_max_ms"])},
                   others_stall_ms=[v.stall(struck) for v in watching if v.name in at_heirs])
    assert max(back) - killed < 3 * figures.BOUND
    for crowd in (players, publishers):
        crowd.say("stop")
        crowd.await_exit()


def test_small_storm(world):
    storm(world, streams=150, viewers=4, event="storm, small", **UNHURRIED)


@pytest.mark.soak
def test_storm(world):
    """1,000 streams, and as many viewers as the descriptors of one process allow."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    streams = min(1000, limit // 20)
    viewers = max(1, min(20, (limit * 9 // 10 - 3 * streams) // streams))
    storm(world, streams, viewers, event="storm")
