"""Who comes, goes or stands still in the very seconds in which an origin is lost; and messages of every kind on their way through it."""
import concurrent.futures
import signal

import pytest

from lib import audit, enhanced, flv, rtmp_wire as wire
from lib.clients import Publisher
from lib.live import Auditor, Content, LivePublisher, entries
from lib.rtmp import Refused
from lib.stage import Stage, resume
from lib.waiting import poll

RELAYS = {"collapse": "auto", "per-viewer": "per-viewer"}


@pytest.fixture(scope="module", params=RELAYS)
def stage(request, shared_world):
    return Stage(shared_world, RELAYS[request.param], origins=3, streams=2, viewers=1)


@pytest.fixture(autouse=True)
def three_origins(stage):
    stage.restore()
    yield
    for stream in stage.streams[2:]:
        drop(stage, stream)


def frozen(stage, name):
    """SIGSTOP of the stream's origin: two seconds in which it has no owner that answers. The blow, and how to end it."""
    blow = stage.strike(stage.owner(name), number=signal.SIGSTOP)
    blow.touched = [s for s in stage.streams if s.name == name]
    pid = stage.origins[blow.victims[0]].pid
    return blow, lambda: resume(pid)


def drop(stage, stream):
    """Ends a test's own stream."""
    stage.streams.remove(stream)
    stream.publisher.freeze().close()
    for viewer in stream.viewers:
        viewer.close()


def refusal_of_a_publisher(stage, name):
    """The code by which somebody who wants to publish is refused; None if he is not."""
    try:
        stage.world.hold(Publisher(stage.proxy.rtmp, "live", name))
    except Refused as refusal:
        return refusal.code
    return None


def test_players_who_come_in_the_gap(stage, stream):
    """The origin is frozen and not given up yet: players who come now get the stream, too, once it has an owner."""
    live = stage.add(stream, viewers=1)
    stage.await_flowing(streams=[live])
    blow, resume_it = frozen(stage, stream)
    try:
        live.viewers += [stage.view(stream, wait=False) for _ in range(3)]
        stage.await_back(blow)
        for viewer in live.viewers:  # who begins at a keyframe after the packet sent last never gets that one
            viewer.await_count(1)
        stage.await_flowing(streams=[live])
    finally:
        resume_it()
    stage.check(streams=[live], whole=False)
    audit.assert_exact(list(live.viewers[0].seen), live.published(), whole=True)


def test_publishers_who_come_in_the_gap(stage, stream):
    """Second publishers are refused, however many race with the one whose origin is frozen."""
    live = stage.add(stream, viewers=1)
    stage.await_flowing(streams=[live])
    blow, resume_it = frozen(stage, stream)
    try:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: refusal_of_a_publisher(stage, stream), range(4)))
        # Denied: the fail-over of the first took longer than they are made to wait for him.
        assert set(answers) <= {"NetStream.Publish.BadName", "NetStream.Publish.Denied"} and len(answers) == 4, answers
        stage.await_back(blow)
    finally:
        resume_it()


def test_publisher_who_leaves_in_the_gap(stage, stream):
    """He ends his stream properly while its origin is frozen. His viewers have all of it in the end, or nothing twice at least, and stay."""
    live = stage.add(stream, viewers=2)
    stage.await_flowing(streams=[live])
    blow, resume_it = frozen(stage, stream)
    try:
        live.publisher.freeze()
        live.publisher.unpublish(stream)
        live.publisher.close()
        again = stage.world.hold(LivePublisher(stage.proxy.rtmp, "live", stream, Content(stream + "-again", start=90000, gop_seconds=15))).go()
        poll(lambda: len(again.sent) > 40 or again.closed, what="packets of the second run")
        assert again.closed is None
        second = {e.digest for e in again.sent}
        for n, viewer in enumerate(live.viewers):
            viewer.await_seen(again.sent[40])
            assert viewer.closed is None and not viewer.farewells()
            seen = list(viewer.seen)
            audit.assert_exact([e for e in seen if e.digest not in second and e.timestamp < 90000], live.publisher.published(), f"viewer {n}, first run")
            found = audit.Audit([e for e in seen if e.timestamp >= 90000], again.published())
            assert not (found.lost or found.doubled or found.disordered), f"viewer {n}: {found.describe()}"
    finally:
        resume_it()
    again.close()
    assert blow


def test_viewer_who_does_not_read_for_a_while(stage, stream):
    """A viewer who takes nothing from before the kill until after it has missed nothing."""
    live = stage.add(stream, viewers=2, content={"frame_bytes": 4000})
    stage.await_flowing(streams=[live])
    slow = live.viewers[0].foreground()
    blow = stage.strike(stage.owner(stream))
    blow.touched = [live]
    stage.await_back(blow)
    live.publisher.await_sent_more(20)
    live.viewers[1].await_seen(live.publisher.last_sent())
    slow.background()
    stage.await_flowing(streams=[live])
    stage.check(streams=[live])


def test_clock_that_wraps(stage, stream):
    """Timestamps run through 2^32 between two kills."""
    live = stage.add(stream, viewers=2, content={"start": 2**32 - 1000})
    for _ in range(2):
        stage.await_flowing(streams=[live])
        blow = stage.strike(stage.owner(stream))
        blow.touched = [live]
        stage.await_back(blow)
        stage.restore()
        live.publisher.await_sent_more(20)
    stage.await_flowing(streams=[live])
    assert live.publisher.sent[-1].timestamp < 2**31, "the clock has not wrapped"
    stage.check(streams=[live])


def test_messages_of_unknown_kinds(stage, stream):
    """AMF3 data and a message type that nobody knows are numbered as all others: once, in their place."""
    live = stage.add(stream, viewers=2, content={"odd": True})
    stage.await_flowing(streams=[live])
    blow = stage.strike(stage.owner(stream))
    blow.touched = [live]
    stage.await_back(blow)
    live.publisher.await_sent_more(30)
    stage.await_flowing(streams=[live])
    assert {e.type for e in live.viewers[0].seen} == {8, 9, 15, 18, 30}
    stage.check(streams=[live])


def test_new_sequence_header_just_before(stage, stream):
    """The encoder changes its parameters and the origin dies at once: who comes later gets the new ones, who was there gets them once."""
    live = stage.add(stream, viewers=2)
    stage.await_flowing(streams=[live])
    publisher = live.publisher.freeze()
    old = next(e for e in publisher.sent if e.type == 9)
    header = publisher.content.headers()[1].payload
    publisher.put(flv.Tag(wire.VIDEO, publisher.sent[-1].timestamp, header[:-1] + bytes([header[-1] ^ 1])))
    new = publisher.sent[-1]
    assert new.role == "header"
    blow = stage.strike(stage.owner(stream))
    blow.touched = [live]
    publisher.go()
    stage.await_back(blow)
    stage.await_flowing(streams=[live])
    stage.check(streams=[live])
    late = stage.view(stream)
    live.viewers.append(late)
    publisher.await_sent_more(20)
    stage.await_flowing(streams=[live])
    for viewer in live.viewers[:2]:
        assert [e.digest for e in viewer.seen if e.type == 9 and e.role == "header"] == [old.digest, new.digest]
    pictures = [e for e in late.seen if e.type == 9]
    assert pictures[0].role == "header"
    stage.check(streams=[live], whole=False)


@pytest.mark.parametrize("codec", ["hvc1", "multitrack"])
def test_enhanced_rtmp(stage, stream, codec):
    """HEVC with Opus by FourCC, and several tracks in one message."""
    tags = enhanced.multitrack_stream(frames=60) if codec == "multitrack" else enhanced.codec_stream("hvc1", enhanced.HVCC, "Opus", enhanced.OPUS_HEAD)
    publisher = stage.world.hold(Publisher(stage.proxy.rtmp, "live", stream))
    viewers = [stage.world.hold(Auditor(stage.proxy.rtmp, "live", stream)) for _ in range(2)]
    published = entries(tags)
    half = len(tags) // 2 + 3
    publisher.put_all(tags[:half])
    for viewer in viewers:
        viewer.await_seen(published[half - 1])
    stage.strike(stage.owner(stream))
    publisher.put_all(tags[half:])
    for n, viewer in enumerate(viewers):
        viewer.await_seen(published[-1])
        audit.assert_exact(list(viewer.seen), published, f"viewer {n}", whole=True)
        assert viewer.closed is None
    assert publisher.closed is None
    publisher.close()
