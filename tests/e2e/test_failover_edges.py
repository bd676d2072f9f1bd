"""The edges of fail-over: a single origin that must come back, and a retention that is too small."""
import os
import signal
import time

import pytest

from lib import audit, figures
from lib.live import Auditor, Content, LivePublisher
from lib.stage import Stage
from lib.waiting import poll

RELAYS = {"collapse": "auto", "per-viewer": "per-viewer"}


@pytest.mark.parametrize("relay", RELAYS)
def test_single_origin_under_run(world, relay):
    """`sluice run --origins 1`, kill -9 of the origin: the next owner is its next incarnation; encoder and viewers stay, every packet once."""
    cluster = world.run(origins=1, relay=RELAYS[relay])
    publishers = [world.hold(LivePublisher(cluster.rtmp, "live", f"s{n}", Content(f"s{n}"))) for n in range(3)]
    viewers = [world.hold(Auditor(cluster.rtmp, "live", p.name)) for p in publishers for _ in range(2)]
    for publisher in publishers:
        publisher.go()
    for viewer in viewers:
        viewer.await_count(30)
    mark, killed = len(cluster.events), time.monotonic()
    (origin,) = cluster.children("origin")
    os.kill(origin, signal.SIGKILL)
    cluster.await_event("child_restarts", since=mark)
    cluster.await_event("session_start", since=mark, role="origin", kind="publish", count=3)
    for publisher in publishers:
        count = len(publisher.sent)
        poll(lambda: len(publisher.sent) > count + 20 or publisher.closed, what="more packets")
    ends = {p.name: p.freeze().last_sent() for p in publishers}
    for viewer in viewers:
        viewer.await_seen(ends[viewer.name])
    for publisher in publishers:
        assert publisher.closed is None, publisher.closed
    for viewer in viewers:
        assert viewer.closed is None and not viewer.farewells()
        published = next(p for p in publishers if p.name == viewer.name).published()
        audit.assert_exact(viewer.seen, published, f"viewer of {viewer.name}", whole=True)
    stalls = [v.stall(killed) for v in viewers]
    figures.report("single origin, sigkill", relay=relay, origins="sluice", streams=3, stall_ms=stalls)
    assert max(stalls) < figures.BOUND


@pytest.mark.parametrize("relay", RELAYS)
def test_nobody_comes_back(world, relay):
    """The only origin dies for good: encoder and viewers wait for PROXY_RECOVER_WAIT, are told then, and nobody is left hanging."""
    stage = Stage(world, RELAYS[relay], origins=1, streams=1, viewers=2, proxy={"recover_wait": "2s", "play_wait": "2s"})
    (stream,) = stage.streams
    blow = stage.strike("o1")
    stream.publisher.wait(lambda: any(s.get("level") == "error" for s in stream.publisher.statuses()), what="an error status", allow_closed=True)
    for client in (stream.publisher, *stream.viewers):
        client.await_close()
    assert time.monotonic() - blow.at > 1.5, "given up before the time was over"
    for viewer in stream.viewers:
        assert viewer.farewells() or any(s.get("level") == "error" for s in viewer.statuses()), viewer.statuses()
        audit.assert_exact(viewer.seen, stream.published(), whole=True)
    poll(lambda: stage.proxy.metrics().total("sluice_degraded_streams") == 0, what="nothing degraded")
    poll(lambda: stage.proxy.metrics().total("sluice_sessions", proto="rtmp") == 0, what="no session left")


@pytest.mark.parametrize("relay", RELAYS)
def test_retention_at_its_limit(world, relay):
    """Two seconds of a fat stream do not fit: what is given up is counted, viewers go on at a keyframe, nobody is disconnected."""
    stage = Stage(world, RELAYS[relay], origins=2, streams=1, viewers=2, proxy={"retention_bytes": "200k"},
                  content={"key_bytes": 60_000, "frame_bytes": 20_000})
    blow = stage.strike(stage.busiest(), number=signal.SIGSTOP)
    try:
        stage.await_back(blow)
        stage.await_flowing()
        audits = stage.check(exact=False)
        assert stage.proxy.metrics().total("sluice_retention_evicted_frames_total") > 0
        figures.report("retention at its limit", relay=relay, origins="sluice", stall_ms=stage.stalls(blow, blow.touched),
                       lost_packets_worst=max(len(a.lost) for a in audits))
    finally:
        stage.origins[blow.victims[0]].send_signal(signal.SIGCONT)
