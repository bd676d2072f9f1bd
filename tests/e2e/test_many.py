"""Twenty streams at once over four origins."""
import pytest

from lib import compare, media

STREAMS = 20
PLAYERS = 2


@pytest.mark.parametrize("relay", ["per-viewer", "collapse"])
def test_twenty_streams_over_four_origins(world, relay):
    """20 × (1 real ffmpeg, 2 auditing players): every packet played is what that stream's encoder published, whatever the relay."""
    cluster = world.run(origins=4, relay=relay, play_wait="60s")
    clips = [media.clip(seconds=4, gop_seconds=2.0, tone=220 + 20 * (n % 5)) for n in range(STREAMS)]
    names = [f"cam{n:02}" for n in range(STREAMS)]
    # Half of the players ask before their stream is there, the others join late.
    early = {name: world.player(cluster.rtmp, name=name, wait=False) for name in names}
    encoders = [world.ffmpeg_publish(clip, f"rtmp://{cluster.rtmp}/live/{name}") for clip, name in zip(clips, names)]
    for player in early.values():
        player.await_media(30)
    late = {name: world.player(cluster.rtmp, name=name) for name in names}

    for clip, name, encoder in zip(clips, names, encoders):
        published = media.as_ffmpeg_publishes(clip)
        for who, player in (("early", early[name]), ("late", late[name])):
            player.await_packet(compare.last_frame(published), timeout=30)
            compare.assert_delivered(player.media(), published, whole=who == "early", who=f"{who} player of {name}")
            compare.assert_monotonic(player.media(), who=f"{who} player of {name}")
        assert encoder.await_exit(60) == 0, encoder.tail()

    used = {e["origin"] for e in cluster.find("session_start", role="proxy", kind="publish")}
    assert len(used) >= 2, f"all streams went to {used}"
    expected = STREAMS * PLAYERS if relay == "per-viewer" else STREAMS
    assert len(cluster.await_event("session_start", role="origin", kind="play", count=expected)) == expected
