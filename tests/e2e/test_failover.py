"""Origins that are killed, frozen and stopped under fifty streams: nobody is disconnected, every packet arrives once."""
import signal

import pytest

from lib import figures
from lib.stage import Stage, resume
from lib.waiting import poll

#: 48 streams of ours (two with keyframes of 150 KB) and two real encoders, three viewers each, one in six of the encoders' is an ffmpeg.
STREAMS, ENCODERS, FAT = 48, 2, 2

_stages = {}


@pytest.fixture(scope="module", params=["collapse", "per-viewer"])
def relay(request):
    return "auto" if request.param == "collapse" else request.param


@pytest.fixture
def stage(request, relay, shared_world):
    """All tests of a relay mode share a running stage; after a failure the next test gets a new one."""
    made = _stages.get(relay)
    if made is None or made.broken:
        for other in _stages.values():
            other.end()
        _stages.clear()
        made = _stages[relay] = Stage(shared_world, relay, streams=STREAMS, encoders=ENCODERS, fat=FAT, encoder_seconds=480)
    made.broken = True  # until the test has come to its end
    yield made
    if request.node.passed:
        made.restore()
        made.broken = False


def report(stage, event, blow, back=()):
    """The figures of a blow; the streams that it did not touch are for comparison."""
    return figures.report(event, relay=stage.relay, origins="sluice", streams=len(stage.streams), touched=len(blow.touched),
                          detect_ms=stage.detection(blow), back_ms=list(back), stall_ms=stage.stalls(blow, blow.touched),
                          others_stall_ms=stage.stalls(blow, blow.others))


def survived(stage, event, blow, bound=figures.BOUND / 2):
    """Everything is published again, everybody has the newest packets, and every packet was seen once."""
    back = stage.await_back(blow)
    stage.await_flowing()
    stage.check()
    stage.check_recordings()
    line = report(stage, event, blow, back)
    assert blow.touched, "the origin had no stream"
    assert max(stage.stalls(blow, blow.touched)) < bound, line
    poll(lambda: len(stage.detection(blow)) == len(blow.victims), what="the proxy to say that it has lost the origin")


def test_sigstop_and_resume(stage):
    """An origin is frozen for 10 s. Its streams go on elsewhere; when it runs again it disturbs nobody. (First, since a stream that has
    moved would wait some seconds before it leaves an origin that is merely silent.)"""
    victim = stage.busiest()
    origin = stage.origins[victim]
    blow = stage.strike(victim, number=signal.SIGSTOP)
    try:
        survived(stage, "sigstop", blow, bound=figures.BOUND)
        stage.play_on(max(0.5, 10 - (stage.now() - blow.at)))
    finally:
        mark = len(stage.proxy.events)
        resume(origin.pid)
    stage.proxy.await_event("origin_back", since=mark, origin=origin.incarnation)
    stage.play_on(2)
    stage.await_flowing()
    stage.check()
    assert not stage.at(victim), "streams went back by themselves"
    poll(lambda: origin.metrics().total("sluice_streams") == 0, what="the origin that was given up to know that it has no publishers")


def test_sigkill(stage):
    """kill -9 of the busiest origin."""
    survived(stage, "sigkill", stage.strike(stage.busiest()))


def test_kill_just_after_a_keyframe(stage):
    """kill -9 in the moment in which a large keyframe has left the encoder: the proxy, and the origin, have some of it."""
    survived(stage, "sigkill", stage.strike_at_keyframe(stage.streams[0]))


def test_sigterm(stage):
    """An origin that is told to stop while it has streams."""
    victim = stage.busiest()
    origin = stage.origins[victim]
    survived(stage, "sigterm", stage.strike(victim, number=signal.SIGTERM))
    assert origin.await_exit() == 0


def test_two_origins_in_a_row(stage):
    """The second is killed as soon as it has taken the first one's streams, before anybody has come to rest."""
    first = stage.busiest()
    blow = stage.strike(first)
    stage.await_back(blow)
    survived(stage, "two in a row", stage.strike(stage.busiest(but=[first])))


def test_all_but_one(stage):
    """Three of four origins are killed at once."""
    last = min(stage.origins, key=lambda i: len(stage.at(i)))
    survived(stage, "all but one", stage.strike(*[i for i in stage.origins if i != last]))


def test_origin_that_comes_back_takes_streams_again(stage):
    """After everything: a stream that is published now may go to any of the four, and all is counted as whole."""
    for n in range(12):
        stage.add(f"{stage.relay}-late{n}", viewers=1)
    stage.await_flowing()
    stage.check()
    assert len({stage.owner(f"{stage.relay}-late{n}") for n in range(12)}) >= 2
    metrics = stage.proxy.metrics()
    assert metrics.total("sluice_degraded_streams") == 0
    assert metrics.total("sluice_failover_total") > 0
    stage.halt()
    stage.check()
