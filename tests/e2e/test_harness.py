"""The harness itself, against nginx-rtmp: a comparison that could not fail would prove nothing."""
import pytest

from lib import amf0, compare, flv, media, net, rtmp_wire as wire
from lib.nginx import Nginx
from lib.rtmp import Connection

pytestmark = pytest.mark.skipif(not Nginx.available(), reason="libnginx-mod-rtmp is not installed")


@pytest.fixture(scope="module")
def played(shared_world, tags):
    """What a player got from nginx of a clip that was published to it."""
    nginx = shared_world.nginx()
    publisher = shared_world.publisher(nginx.address, name="clip")
    player = shared_world.player(nginx.address, name="clip")
    publisher.put_all(tags)
    player.await_packet(compare.last_frame(tags))
    return [m for m in player.media() if m.payload]


def test_a_complete_stream_is_complete(played, tags):
    compare.assert_delivered(played, tags, whole=True)


@pytest.mark.parametrize("damage", ["lost", "twice", "swapped", "cut", "bits", "time", "start"])
def test_damage_is_found(played, tags, damage):
    """Each way in which delivery can fail makes the comparison fail."""
    got = list(played)
    one = got[50]
    damaged = {"lost": got[:50] + got[51:], "twice": got[:50] + [one] + got[50:], "swapped": got[:50] + [got[51], one] + got[52:],
               "cut": got[:-1], "start": got[20:],
               "bits": got[:50] + [wire.Message(one.type, one.timestamp, 1, 4, one.payload + b"x")] + got[51:],
               "time": got[:50] + [wire.Message(one.type, one.timestamp + 1, 1, 4, one.payload)] + got[51:]}[damage]
    with pytest.raises(AssertionError):
        compare.assert_delivered(damaged, tags)


def test_ffmpeg_publishes_what_its_muxer_writes(world, clip):
    """The expectation for real encoders, as_ffmpeg_publishes(), holds without anything of ours between."""
    nginx = world.nginx()
    player = world.player(nginx.address, name="s")  # nginx lets players wait
    encoder = world.ffmpeg_publish(clip, f"rtmp://{nginx.address}/live/s")
    published = media.as_ffmpeg_publishes(clip)
    player.await_packet(compare.last_frame(published))
    compare.assert_delivered([m for m in player.media() if m.payload], published, whole=True)
    assert encoder.await_exit() == 0


@pytest.mark.parametrize("scheme", [0, 1])
def test_digest_handshake_of_a_foreign_server(world, scheme):
    with Connection(world.nginx().address, digest=scheme) as connection:
        assert connection.connect("live")[1]["code"] == "NetConnection.Connect.Success"


@pytest.mark.parametrize("size", [1, 127, 128, 129, 4096, 70000])
@pytest.mark.parametrize("timestamp", [0, 0xFFFFFE, 0xFFFFFF, 0xFFFFFFFF])
def test_chunks_are_read_as_written(size, timestamp):
    """Byte by byte and whole, with and without extended timestamps."""
    payload = bytes(n & 0xFF for n in range(size))
    data = wire.chunks(9, timestamp, 1, 6, payload, 128)
    for step in (len(data), 1):
        reader = wire.ChunkReader()
        out = [m for at in range(0, len(data), step) for m in reader.feed(data[at:at + step])]
        assert [(m.type, m.timestamp, m.stream_id, m.payload) for m in out] == [(9, timestamp, 1, payload)]


def test_amf0_round_trip():
    values = ["connect", 1.0, {"app": "live", "on": True, "none": None, "list": [1.0, "two"]}, amf0.Ecma(a=1.0), "x" * 70000]
    assert amf0.decode(amf0.encode(*values)) == values


def test_free_port_is_free():
    assert not net.accepts(("127.0.0.1", net.free_port()))


def test_keyframes_of_the_clip(tags):
    """A keyframe each second, which the tests of late players count on."""
    times = [t.timestamp for t in tags if flv.is_keyframe(t.type, t.payload)]
    assert len(times) == 3 and all(900 < b - a < 1100 for a, b in zip(times, times[1:])), times
