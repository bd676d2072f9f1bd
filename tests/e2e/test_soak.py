"""What takes minutes: `pytest -m soak`, by `make soak`."""
import os
import random
import signal

import pytest

from lib import compare, media
from lib.clients import Player, Publisher
from lib.process import descriptors, resident_bytes
from lib.rtmp import Closed, Refused
from lib.sluice import MEMORY_FACTOR
from lib.waiting import Timeout, poll

pytestmark = pytest.mark.soak

MINUTES = float(os.environ.get("SOAK_MINUTES", "10"))


@pytest.mark.parametrize("relay", ["per-viewer", "collapse"])
def test_minutes_of_streaming(world, relay):
    """Eight streams for MINUTES by real encoders, two players each: every packet, and memory that does not climb."""
    cluster = world.run(origins=4, relay=relay)
    loops = max(1, round(MINUTES * 60 / 30))
    clips = [media.clip(seconds=30, tone=220 + 20 * (n % 4)) for n in range(8)]
    encoders, players = [], []
    for number, clip in enumerate(clips):
        encoders.append(world.ffmpeg_publish(clip, f"rtmp://{cluster.rtmp}/live/s{number}", "-stream_loop", str(loops - 1)))
        players += [(number, world.player(cluster.rtmp, name=f"s{number}")) for _ in range(2)]
    pids = [cluster.pid, *cluster.children("proxy"), *cluster.children("origin")]
    players[0][1].await_media(1000, timeout=60)
    early = sum(map(resident_bytes, pids))
    for encoder in encoders:
        assert encoder.await_exit(MINUTES * 60 + 120) == 0, encoder.tail()
    late = sum(map(resident_bytes, pids))
    assert late - early < MEMORY_FACTOR * (48 << 20), f"memory went from {early >> 20} to {late >> 20} MiB"
    for number, player in players:
        assert player.closed is None
        digests = [p.digest for p in compare.frames(player.media())]
        once = [p.digest for p in compare.frames(media.as_ffmpeg_publishes(clips[number])) if p.digest]
        assert len(digests) >= (loops - 1) * (len(once) - 2), f"player of s{number} got {len(digests)} frames"
        compare.assert_monotonic(player.media(), who=f"player of s{number}")
    for number in range(8):
        first, second = [compare.frames(p.media()) for n, p in players if n == number]
        size = min(len(first), len(second))
        assert first[-size:] == second[-size:], f"the two players of s{number} differ"


def test_thousands_of_connects(world, tags):
    """Publishers and players come and go 3,000 times: no descriptor, session or memory is left behind."""
    cluster = world.run(origins=2, play_wait="200ms")
    pids = [*cluster.children("proxy"), *cluster.children("origin")]
    rng = random.Random(7)

    def round_of(count):
        for number in range(count):
            name = f"s{rng.randrange(20)}"
            try:
                if number % 3 == 0:
                    client = Publisher(cluster.rtmp, "live", name).put_all(tags[:20])
                else:
                    client = Player(cluster.rtmp, "live", name, wait=False)
            except (Refused, Closed, OSError):
                continue
            rng.choice([client.close, client.reset])()

    round_of(500)
    poll(lambda: cluster.metrics().total("sluice_sessions", role="proxy") == 0, what="sessions to end", timeout=30)
    open_before, memory_before = [descriptors(p) for p in pids], [resident_bytes(p) for p in pids]
    round_of(3000)
    poll(lambda: cluster.metrics().total("sluice_sessions", role="proxy") == 0, what="sessions to end", timeout=30)
    poll(lambda: all(descriptors(p) <= n + 4 for p, n in zip(pids, open_before)), what="descriptors to be closed", timeout=30)
    grown = [resident_bytes(p) - n for p, n in zip(pids, memory_before)]
    assert max(grown) < MEMORY_FACTOR * (16 << 20), f"memory grew by {grown}"


def test_origins_die_again_and_again(world, tags):
    """Origins are killed 30 times under load: an encoder that reconnects always gets its stream back."""
    cluster = world.run(origins=3)
    rng = random.Random(11)
    for _ in range(30):
        mark = len(cluster.events)
        os.kill(rng.choice(cluster.children("origin")), signal.SIGKILL)
        for number in range(4):
            def there():
                try:
                    return world.publisher(cluster.rtmp, name=f"s{number}")
                except (Refused, Closed, OSError, Timeout):
                    return None
            publisher = poll(there, what="publish", timeout=20, every=0.1)
            publisher.put_all(tags[:50])
            publisher.close()
        cluster.await_event("ready", since=mark, role="origin", timeout=20)


def test_hours_of_timestamps(world):
    """A stream whose clock runs through 2^32 ms (49.7 days), fast: nothing lost at any of the turns."""
    cluster = world.run(origins=1)
    publisher = world.publisher(cluster.rtmp, name="s")
    player = world.player(cluster.rtmp, name="s")
    sent = []
    for base in range(0, 0x100000000 + 50_000_000, 7_000_000):
        frames = media.heavy(frames=5, gop=5, frame_bytes=300, start=base)
        frames = [type(t)(t.type, t.timestamp & 0xFFFFFFFF, t.payload) for t in frames]
        publisher.put_all(frames)
        sent += frames
    player.await_packet(compare.last_frame(sent), timeout=60)
    compare.assert_delivered(player.media(), sent, whole=True)
