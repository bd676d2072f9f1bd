"""The tools of the fail-over tests, without any fail-over: they find every kind of damage, and nothing where nothing happened."""
import itertools

import pytest

from lib import audit
from lib.live import HEADER, Content, entries
from lib.stage import Stage


@pytest.fixture(scope="module")
def published():
    content = Content("made", gop_seconds=0.5)
    return entries([*content.headers(), *itertools.islice(content, 200)])


def frames(published):
    return [e for e in published if e.role != HEADER]


def at(published, n):
    """`published` and the place in it of frame number n."""
    return published.index(frames(published)[n])


def test_no_packet_is_like_another(published):
    assert len({e.digest for e in published}) == len(published)
    assert {e.type for e in published} == {8, 9, 18} and {e.role for e in published} == {"header", "key", "frame"}


def test_whole_stream_and_late_player_pass(published):
    audit.assert_exact(published, published, whole=True)
    key = next(n for n, e in enumerate(published) if n > 60 and e.role == "key")
    audit.assert_exact(published[:3] + published[key:], published)


DAMAGE = {
    "lost": lambda p, i: p[:i] + p[i + 1:],
    "twice": lambda p, i: p[:i + 1] + p[i:],
    "out of order": lambda p, i: p[:i] + [p[i + 1], p[i]] + p[i + 2:],
    "other timestamp": lambda p, i: p[:i] + [p[i]._replace(timestamp=p[i].timestamp + 1)] + p[i + 1:],
    "never published": lambda p, i: p[:i] + [p[i]._replace(digest="0" * 40)] + p[i + 1:],
    "headers never published": lambda p, i: p[:1] + [p[1]._replace(digest="0" * 40)] + p[2:],
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found(published, what):
    seen = DAMAGE[what](published, at(published, 90))
    with pytest.raises(AssertionError, match=what):
        audit.assert_exact(seen, published)


def test_start_in_mid_gop_is_found(published):
    with pytest.raises(AssertionError, match="no keyframe"):
        middle = next(n for n in range(90, 200) if published[n].role == "frame" and published[n].type == 9)
        audit.assert_exact(published[:3] + published[middle:], published)


def test_gap_up_to_a_keyframe_is_no_damage_where_origins_know_no_numbers(published):
    key = next(n for n, e in enumerate(published) if n > 90 and e.role == "key")
    assert len(audit.assert_nothing_twice(published[:key - 5] + published[key:], published).lost) == 5
    picture = next(n for n in range(key + 1, 200) if published[n].type == 9)
    with pytest.raises(AssertionError, match="without a keyframe"):
        audit.assert_nothing_twice(published[:picture] + published[picture + 1:], published)
    with pytest.raises(AssertionError, match="twice"):
        audit.assert_nothing_twice(published[:key] + published[key - 20:], published)


@pytest.mark.parametrize("relay", ["auto", "per-viewer"])
def test_nothing_happens(world, relay):
    """A stage on which nobody is killed: every packet once, no stall worth the name, and the recordings are whole."""
    stage = Stage(world, relay, origins=2, streams=6, encoders=1, fat=1)
    began = stage.now()
    stage.play_on(2)
    stage.await_flowing()
    assert len(stage.check(whole=True)) == 20
    stage.check_recordings()
    assert set(stage.owners().values()) == {"o1", "o2"}
    assert max(v.stall(began) for s in stage.streams for v in s.viewers) < 5
    stage.halt()
    stage.check(whole=True)
