"""Encoders and viewers that are not what one expects, over the death of an origin."""
import signal
import time

import pytest

from lib import audit, figures
from lib.live import Auditor, Content, LivePublisher
from lib.rtmp import Closed, Refused
from lib.stage import Stage, Stream
from lib.waiting import poll

RELAYS = {"collapse": "auto", "per-viewer": "per-viewer"}


@pytest.fixture(scope="module", params=RELAYS)
def stage(request, shared_world):
    return Stage(shared_world, RELAYS[request.param], origins=3, streams=2, viewers=1, proxy={"play_wait": "30s"})


@pytest.fixture(autouse=True)
def three_origins(stage):
    """Each test finds three living origins."""
    stage.restore()
    yield


def begin(world, stage, name, content=None, viewers=2, run=True):
    """A stream of the test's own, of which the stage knows nothing."""
    stream = Stream(name, world.hold(LivePublisher(stage.proxy.rtmp, "live", name, Content(name, **(content or {})))))
    stream.viewers = [world.hold(Auditor(stage.proxy.rtmp, "live", name)) for _ in range(viewers)]
    return stream if not run else (stream.publisher.go(), stream)[1]


def kill_owner(stage, stream, number=signal.SIGKILL):
    """A blow to the stream's origin, of which only this stream matters."""
    victim = stage.owner(stream.name)
    assert victim, f"{stream.name} is at no origin"
    blow = stage.strike(victim, number=number)
    blow.touched = [stream]
    return blow


def check(stream, whole=True):
    assert stream.alive(), stream.publisher.closed
    for n, viewer in enumerate(stream.viewers):
        assert viewer.closed is None, f"viewer {n}: {viewer.closed}"
        assert not viewer.farewells()
        audit.assert_exact(list(viewer.seen), stream.published(), f"viewer {n} of {stream.name}", whole=whole)


def finish(stream, **options):
    """Stops the stream; everything must have come."""
    last = stream.publisher.freeze().last_sent()
    for viewer in stream.viewers:
        viewer.await_seen(last)
    check(stream, **options)


def test_frozen_encoder(world, stage, stream):
    """The encoder sends nothing while its origin dies; minutes later (here: as soon as it has a new owner) it goes on."""
    live = begin(world, stage, stream)
    stage.await_flowing(streams=[live])
    last = live.publisher.freeze().last_sent()
    for viewer in live.viewers:
        viewer.await_seen(last)
    stage.await_back(kill_owner(stage, live))
    check(live)
    live.publisher.go()
    stage.await_flowing(streams=[live])
    finish(live)


def test_encoder_that_froze_just_before(world, stage, stream):
    """It falls silent, with its last packets on the way, in the moment in which the origin dies."""
    live = begin(world, stage, stream)
    stage.await_flowing(streams=[live])
    blow = kill_owner(stage, live)
    last = live.publisher.freeze().last_sent()
    stage.await_back(blow)
    for viewer in live.viewers:
        viewer.await_seen(last)
    live.publisher.go()
    stage.await_flowing(streams=[live])
    finish(live)


def test_without_any_keyframe(world, stage, stream):
    """Pictures but never a keyframe: whatever a viewer gets of such a stream, nobody is disconnected and nothing comes twice."""
    live = begin(world, stage, stream, {"keyframes": False})
    poll(lambda: len(live.publisher.sent) > 30, what="some packets")
    blow = kill_owner(stage, live)
    stage.await_back(blow)
    count = len(live.publisher.sent)
    poll(lambda: len(live.publisher.sent) > count + 30, what="more packets")
    assert live.alive(), live.publisher.closed
    for viewer in live.viewers:
        assert viewer.closed is None, viewer.closed
        found = audit.Audit(list(viewer.seen), live.published())
        assert not (found.doubled or found.disordered or found.foreign or found.retimed), found.describe()
        assert not found.lost or not [n for n in found.lost if found.published[n].type == 8], found.describe()


def test_audio_only(world, stage, stream):
    """A radio station: no picture, no keyframe to wait for; every packet all the same."""
    live = begin(world, stage, stream, {"video": False})
    stage.await_flowing(streams=[live])
    stage.await_back(kill_owner(stage, live))
    stage.await_flowing(streams=[live])
    finish(live)


def test_gops_of_ten_seconds(world, stage, stream):
    """The current GOP is older than the retention's four seconds: it is kept as a whole, and so is what a viewer needs of it."""
    live = begin(world, stage, stream, {"gop_seconds": 10}, run=False)
    live.publisher.put_next(22 * 7)  # seven seconds of it, at once
    live.publisher.go()
    stage.await_flowing(streams=[live])
    blow = kill_owner(stage, live)
    stage.await_back(blow)
    stage.await_flowing(streams=[live])
    stalls = stage.stalls(blow, [live])
    figures.report("sigkill, GOPs of 10 s", relay=stage.relay, origins="sluice", streams=1, stall_ms=stalls)
    assert max(stalls) < 5, "viewers waited for a keyframe"
    late = world.hold(Auditor(stage.proxy.rtmp, "live", stream))
    answered = time.monotonic()
    late.await_count(1)
    live.viewers.append(late)
    stage.await_flowing(streams=[live])
    finish(live, whole=False)
    first = next(e for e in late.seen if e.role != "header")
    key = next(e for e in live.published() if e.digest == first.digest)
    assert key.role == "key" and key.at <= answered, "the late viewer waited for a keyframe"


def test_publisher_who_leaves_and_returns(world, stage, stream):
    """The encoder breaks off just after the kill and is back at once: its viewers, who were never disconnected, see it again."""
    live = begin(world, stage, stream)
    stage.await_flowing(streams=[live])
    kill_owner(stage, live)
    first = live.publisher.freeze()
    first.reset()

    def again():
        try:
            return world.hold(LivePublisher(stage.proxy.rtmp, "live", stream, Content(stream + "-again", start=20000, gop_seconds=15)))
        except (Refused, Closed, OSError):
            return None
    second = poll(again, what="publish", every=0.1).go()
    target = 30
    poll(lambda: len(second.sent) > target, what="packets of the second run")
    last = second.freeze().last_sent()
    for n, viewer in enumerate(live.viewers):
        viewer.await_seen(last)
        assert viewer.closed is None and not viewer.farewells()
        seen = list(viewer.seen)
        runs = {e.digest for e in first.sent}
        audit.assert_nothing_twice([e for e in seen if e.digest in runs or e.role == "header"], [*first.sent, *second.sent], f"viewer {n}")
        found = audit.Audit([e for e in seen if e.digest not in runs], second.published())
        assert not (found.lost or found.doubled or found.disordered or found.foreign), found.describe()
        times = [e.timestamp for e in seen if e.type == 9 and e.role != "header"]
        assert times == sorted(times), "time steps back where the second run begins"
        assert found.begin <= 3, found.describe()


def test_player_before_the_publisher(world, stage, stream):
    """A player who waits for a stream that does not exist yet, while origins die, gets it from its first packet on."""
    waiting = world.hold(Auditor(stage.proxy.rtmp, "live", stream, wait=False))
    blow = stage.strike(stage.busiest())
    stage.await_back(blow)
    live = begin(world, stage, stream, viewers=0, run=False)
    live.viewers.append(waiting)
    waiting.await_status("NetStream.Play.Start")
    live.publisher.go()
    stage.await_flowing(streams=[live])
    stage.strike(stage.owner(stream))
    stage.await_flowing(streams=[live])
    finish(live)


def test_viewers_wait_for_a_publisher_who_returns(world, stage, stream):
    """A clean end (FCUnpublish, deleteStream), then the origin dies while nobody publishes, then the encoder is back."""
    live = begin(world, stage, stream)
    stage.await_flowing(streams=[live])
    victim = stage.owner(stream)
    first = live.publisher.freeze()
    last = first.last_sent()
    for viewer in live.viewers:
        viewer.await_seen(last)
    first.unpublish(stream)
    first.close()
    stage.strike(victim)
    content = Content(stream + "-again", start=60000, gop_seconds=15)  # who is late begins where it begins, too
    second = world.hold(LivePublisher(stage.proxy.rtmp, "live", stream, content)).go()
    for n, viewer in enumerate(live.viewers):
        poll(lambda: len(second.sent) > 20, what="packets of the second run")
        viewer.await_seen(second.sent[20])
        assert viewer.closed is None and not viewer.farewells()
        again = {e.digest for e in second.sent}
        found = audit.Audit([e for e in list(viewer.seen) if e.digest in again], second.published())
        assert not (found.lost or found.doubled or found.disordered), found.describe()
        audit.assert_exact([e for e in list(viewer.seen) if e.digest not in again], first.published(), f"viewer {n}, first run")
