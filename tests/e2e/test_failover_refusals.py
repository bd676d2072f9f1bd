"""A close is not a death: who is refused or kicked by an origin that lives never wanders to another."""
import time

import pytest

from lib import audit, flv, rtmp_wire as wire
from lib.fake_origin import FakeOrigin
from lib.figures import wall
from lib.live import Auditor, Content, LivePublisher
from lib.rtmp import Closed, Refused
from lib.sluice import UNHURRIED, cluster_state, drain, register, registration
from lib.stage import Stage
from lib.waiting import poll

#: Messages of media, of which a publisher sends about 20 a second.
SOME = 20
#: After so many a fake origin that closes has not refused the publish, as stock ones do in its first two seconds, but kicked it.
LONG = 80


class Ground:
    """A proxy with two origins that are not ours, and do as they are told."""

    def __init__(self, world):
        self.proxy = world.proxy(play_wait="2s", **UNHURRIED)
        self.fakes = [FakeOrigin(), FakeOrigin()]
        for number, fake in enumerate(self.fakes):
            register(self.proxy.api, registration(fake.port, server=f"fake{number}")).raise_for_status()

    def by_owner(self, name, kind="publish"):
        """(the fake that was asked for the stream, the other)."""
        first, second = self.fakes
        return (first, second) if first.asked(kind, name) else (second, first)

    def each(self, **scripts):
        for fake in self.fakes:
            for what, script in scripts.items():
                setattr(fake, what, script)

    def assert_alive(self):
        assert not [e for e in self.proxy.events if e["event"] in ("origin_dead", "origin_lost", "origin_void")]


@pytest.fixture
def ground(world):
    made = Ground(world)
    yield made
    for fake in made.fakes:
        fake.close()


def kick_after(count, sessions, reset=False):
    """Kicks the first so many publishing sessions, each after `count` messages."""
    kicked = []

    def on_media(session, message):
        if len(session.messages) >= count and session not in kicked and len(kicked) < sessions:
            kicked.append(session)
            session.kick(reset)
    return on_media


def run(world, ground, name):
    return world.hold(LivePublisher(ground.proxy.rtmp, "live", name)).go()


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_kicked_publisher_is_tried_once_more_at_the_same_origin(ground, world, reset):
    """An origin that lives closes a publisher in mid-session, twice: the second time he is closed; the other origin is never asked."""
    ground.each(on_media=kick_after(LONG, sessions=100, reset=reset))
    publisher = run(world, ground, "kicked")
    publisher.await_close()
    owner, other = ground.by_owner("kicked")
    assert len(owner.asked("publish", "kicked")) == 2
    assert not other.asked()
    ground.assert_alive()


def test_publisher_who_is_kicked_once_goes_on(ground, world):
    """A single close in mid-session: published again at the same origin from where it stopped, since viewers who stayed there have had the
    rest; the encoder does not notice."""
    ground.each(on_media=kick_after(LONG, sessions=1))
    publisher = run(world, ground, "once")
    owner, other = ground.by_owner("once")
    first, again = owner.await_asked(2, "publish", "once")
    later = publisher.published()[-1]
    owner.signal.wait(lambda: len(again.messages) > 3 * SOME, what="media after the retry")
    publisher.freeze()  # of what is compared below nothing comes in between
    assert publisher.closed is None and not other.asked()
    assert later.timestamp <= again.messages[-1].timestamp
    assert [m.type for m in again.messages[:3]] == [wire.DATA, wire.VIDEO, wire.AUDIO], "headers in force come first"
    media = (wire.AUDIO, wire.VIDEO)
    sent = [e for e in publisher.published() if e.type in media]
    order = {e.digest: n for n, e in enumerate(sent)}
    heard = [order[m.digest] for m in first.messages if m.type in media]
    goes_on = [order[m.digest] for m in again.messages[3:] if m.type in media]
    assert goes_on == list(range(goes_on[0], goes_on[0] + len(goes_on))), "a hole, or something twice"
    assert heard[-1] < goes_on[0], "what the origin had comes again"
    # What was on its way into the connection that the origin closed is lost, and nothing later. (The last one's time may be noted late.)
    noticed = wall(ground.proxy.await_event("upstream_lost")) - time.time() + time.monotonic() + 0.002
    assert all(e.at <= noticed for e in sent[heard[-1] + 1:goes_on[0] - 1]), "more is lost than what was on its way"
    ground.assert_alive()


def test_kick_of_one_stream_is_not_felt_by_another(ground, world):
    """Another stream of the same origin goes on in its first session."""
    publisher = run(world, ground, "calm")
    owner, _ = ground.by_owner("calm")
    calm = owner.await_asked(1, "publish", "calm")[0]
    on_media = kick_after(LONG, sessions=100)
    ground.each(on_media=lambda s, m: on_media(s, m) if s.name.startswith("kicked") else None)
    names = [f"kicked{n}" for n in range(6)]
    for other in [run(world, ground, name) for name in names]:
        other.await_close()
    at = len(calm.messages)
    owner.signal.wait(lambda: len(calm.messages) > at + SOME, what="media of the calm stream")
    assert len(owner.asked("publish", "calm")) == 1 and publisher.closed is None
    for name in names:
        asked = [len(fake.asked("publish", name)) for fake in ground.fakes]
        assert sorted(asked) == [0, 2], f"{name} was published {asked} times"


def refuse_with_error(session):
    session.status("NetStream.Publish.BadName" if session.kind == "publish" else "NetStream.Play.Failed", "error", "no token")
    session.kick()


def refuse_without_a_word(session):
    session.kick()


def start_and_close(session):
    """As SRS does: it says Start before it has asked its hooks."""
    session.status("NetStream.Publish.Start" if session.kind == "publish" else "NetStream.Play.Start")
    session.kick()


REFUSALS = [refuse_with_error, refuse_without_a_word, start_and_close]


@pytest.mark.parametrize("how", REFUSALS, ids=lambda f: f.__name__)
def test_refused_publisher_does_not_wander(ground, world, how):
    """The origin's no reaches the encoder as an onStatus; no other origin hears of it."""
    ground.each(on_publish=how)
    with pytest.raises(Refused) as refusal:
        publisher = world.publisher(ground.proxy.rtmp, name="no")
        publisher.await_status("an error", since=0)
    assert refusal.value.code.startswith("NetStream.Publish."), refusal.value
    assert sorted(len(fake.asked()) for fake in ground.fakes) == [0, 1], "another origin was asked, or the same one twice"
    ground.assert_alive()


@pytest.mark.parametrize("count", [1, 5], ids=["metadata", "media"])
def test_publisher_refused_after_the_start(ground, world, count):
    """Stock SRS says Publish.Start, asks its hooks, and refuses by a bare close, after metadata or the first media: BadName, and no second try."""
    ground.each(on_media=kick_after(count, sessions=100))
    publisher = run(world, ground, "no")
    publisher.await_close()
    assert [s["code"] for s in publisher.statuses() if s["level"] == "error"] == ["NetStream.Publish.BadName"]
    assert sorted(len(fake.asked()) for fake in ground.fakes) == [0, 1], "another origin was asked, or the same one twice"
    ground.assert_alive()


@pytest.mark.parametrize("how", REFUSALS, ids=lambda f: f.__name__)
def test_refused_player_does_not_wander(ground, world, how):
    """The same for a player; the publisher goes on."""
    publisher = run(world, ground, "s")
    owner, other = ground.by_owner("s")
    session = owner.await_asked(1, "publish", "s")[0]
    ground.each(on_play=how)
    with pytest.raises((Refused, Closed)) as refusal:
        world.player(ground.proxy.rtmp, name="s").await_status("an error", since=0)
    assert isinstance(refusal.value, Refused), "a bare close"
    assert refusal.value.code.startswith("NetStream.Play."), refusal.value
    assert len(owner.asked("play")) == 1 and not other.asked()
    count = len(session.messages)
    owner.signal.wait(lambda: len(session.messages) > count + 5, what="media of the publisher")
    assert publisher.closed is None
    ground.assert_alive()


def test_kicked_player_is_tried_once_more_at_the_same_origin(ground, world):
    """An origin that closes a player in mid-session: one more try there, then he is closed."""
    tags = [*Content("s").headers(), *(tag for tag, _ in zip(Content("s"), range(SOME)))]

    def serve_and_kick(session):
        FakeOrigin.grant_play(session)
        for tag in tags:
            session.put(tag)
        session.kick()
    run(world, ground, "s")
    owner, other = ground.by_owner("s")
    ground.each(on_play=serve_and_kick)
    player = world.hold(Auditor(ground.proxy.rtmp, "live", "s", wait=False))
    player.await_close()
    assert len(owner.asked("play", "s")) == 2 and not other.asked()
    ground.assert_alive()


def test_origin_that_is_really_gone(ground, world):
    """The contrast: the same close, and nobody listens any more: the other origin gets the stream."""
    publisher = run(world, ground, "moved")
    owner, other = ground.by_owner("moved")
    session = owner.await_asked(1, "publish", "moved")[0]
    owner.signal.wait(lambda: len(session.messages) > SOME, what="media")
    owner.close()
    (again,) = other.await_asked(1, "publish", "moved")
    other.signal.wait(lambda: len(again.messages) > SOME, what="media at the other origin")
    publisher.freeze()
    assert publisher.closed is None
    sent = {e.digest for e in publisher.published()}
    assert {m.digest for m in again.messages if m.type in (8, 9)} <= sent


@pytest.mark.parametrize("how", REFUSALS, ids=lambda f: f.__name__)
def test_drain_to_an_origin_that_refuses(ground, world, how):
    """The new owner says no in any of the ways in which origins do: the stream stays where it is, its encoder does not notice, the drain says
    so, and asks once."""
    publisher = run(world, ground, "s")
    owner, other = ground.by_owner("s")
    (session,) = owner.await_asked(1, "publish", "s")
    other.on_publish = how
    server_id = f"fake{ground.fakes.index(owner)}"
    assert drain(ground.proxy.api, server_id).status_code == 200
    refused = poll(lambda: cluster_state(ground.proxy.api)["origins"][server_id]["move_refused"], what="the refusal")
    assert "live/s" in refused[0], refused
    count = len(session.messages)
    owner.signal.wait(lambda: len(session.messages) > count + 2 * SOME, what="media at the old owner")
    assert publisher.closed is None and session.ended is None
    assert len(other.asked("publish", "s")) == 1 and len(owner.asked("publish", "s")) == 1


def test_drain_passes_on_the_parameters(ground, world):
    """The new owner is asked with what the client said: its query (a token), and the rest of its connect."""
    publisher = world.hold(LivePublisher(ground.proxy.rtmp, "live", "s?token=abc", connect={"pageUrl": "http://example.com/p"})).go()
    owner, other = ground.by_owner("s")
    owner.await_asked(1, "publish", "s")
    assert drain(ground.proxy.api, f"fake{ground.fakes.index(owner)}").status_code == 200
    (session,) = other.await_asked(1, "publish", "s")
    other.signal.wait(lambda: len(session.messages) > SOME, what="media at the new owner")
    assert session.query == "token=abc" and session.object.get("pageUrl") == "http://example.com/p"
    first = next(m for m in session.messages if m.type == wire.VIDEO and not flv.is_sequence_header(m.type, m.payload))
    assert flv.is_keyframe(first.type, first.payload)
    assert publisher.closed is None
    poll(lambda: owner.asked("publish", "s")[0].ended, what="end of the old publish")


def test_second_publisher_does_not_wander(world):
    """Sluice origins: a second publisher of a live stream is refused by the owner; no other origin hears of him, and the first is untouched."""
    stage = Stage(world, origins=3, streams=1, viewers=2)
    stream = stage.streams[0]
    marks = {i: len(o.events) for i, o in stage.origins.items()}
    for _ in range(5):
        with pytest.raises(Refused) as refusal:
            LivePublisher(stage.proxy.rtmp, "live", stream.name)
        assert refusal.value.code == "NetStream.Publish.BadName"
    owner = stage.owner(stream.name)
    for server_id, origin in stage.origins.items():
        heard = [e for e in origin.events[marks[server_id]:] if stream.name in str(e.get("stream", ""))]
        assert server_id == owner or not heard, heard
    stage.await_flowing()
    stage.check()
    for viewer in stream.viewers:
        audit.assert_exact(viewer.seen, stream.published(), whole=True)
