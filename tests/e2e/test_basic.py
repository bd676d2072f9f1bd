"""The programs that people use, against `sluice run`: what they publish is what they play."""
import json
import os
import signal

import pytest

from lib import amf0, compare, flv, media, rtmp_wire as wire
from lib.process import run_tool
from lib.rtmp import Connection
from lib.sluice import cluster_state
from lib.waiting import poll


def url(cluster, stream, app="live"):
    return f"rtmp://{cluster.rtmp}/{app}/{stream}"


def digests_by_type(tags):
    """The payload digests of the frames, for tools that shift timestamps."""
    return {kind: [p.digest for p in compare.frames(tags) if p.type == kind] for kind in (flv.AUDIO, flv.VIDEO)}


def recorded(path):
    """The tags of a file that is being written; [] while there is no header yet."""
    try:
        return flv.read(path)
    except (OSError, ValueError, IndexError):
        return []


def await_recording(path, last, process):
    """Waits until the packet with the digest of `last` stands in a file that a player writes; its tags."""
    def complete():
        tags = recorded(path)
        assert process.alive or tags, process.tail()
        return tags if any(flv.digest(t.payload) == last.digest for t in tags) else None
    return poll(complete, what=f"packet {last} in {os.path.basename(path)}", every=0.1)


def test_ffmpeg_to_auditing_player(cluster, world, stream, clip):
    """ffmpeg publishes; a player that was there before gets every packet with its type, timestamp and bytes, and the metadata."""
    published = media.as_ffmpeg_publishes(clip)
    player = world.player(cluster.rtmp, name=stream, wait=False)
    encoder = world.ffmpeg_publish(clip, url(cluster, stream))
    player.await_packet(compare.last_frame(published))
    compare.assert_delivered(player.media(), published, whole=True)
    assert encoder.await_exit() == 0, encoder.tail()

    (_, seen), (_, sent) = player.data("onMetaData")[0], [d for d in _data(published) if d[0] == "onMetaData"][0]
    for key in ("width", "height", "framerate", "videocodecid", "audiocodecid", "audiosamplerate"):
        assert seen[key] == sent[key], key


def _data(tags):
    return [amf0.decode(t.payload) for t in tags if t.type == flv.DATA]


def test_metadata_and_headers_come_first(cluster, world, stream, clip):
    """Before the first frame stand the metadata and both sequence headers."""
    world.ffmpeg_publish(clip, url(cluster, stream))
    player = world.player(cluster.rtmp, name=stream)
    player.await_media(5)
    kinds = [(m.type, flv.is_sequence_header(m.type, m.payload)) for m in player.messages if m.type in (8, 9, 18)]
    first_frame = next(i for i, (kind, header) in enumerate(kinds) if kind != flv.DATA and not header)
    before = kinds[:first_frame]
    assert (flv.DATA, False) in before and (flv.VIDEO, True) in before and (flv.AUDIO, True) in before, kinds


def test_ffmpeg_plays(cluster, world, stream, clip, tmp_path):
    """`ffmpeg -c copy` dumps what another ffmpeg publishes: every packet, byte for byte, at its distance from the others."""
    published = media.as_ffmpeg_publishes(clip)
    out = str(tmp_path / "dump.flv")
    player = world.ffmpeg("-i", url(cluster, stream), "-c", "copy", "-flush_packets", "1", "-y", "-f", "flv", out)
    poll(lambda: cluster_state(cluster.api)["waiting"] >= 1, what="the player at the proxy")
    world.ffmpeg_publish(clip, url(cluster, stream))
    frames = compare.frames(published)
    tags = await_recording(out, frames[-8], player)  # ffmpeg holds back the very last of a stream that does not end
    got, want = digests_by_type(tags), digests_by_type(published)
    for kind in want:
        begin = want[kind].index(got[kind][0])
        assert got[kind] == want[kind][begin:begin + len(got[kind])], f"type {kind} differs"
        assert len(got[kind]) > len(want[kind]) * 0.6, "most of the clip was missed"
    _same_distances(tags, published)


def _same_distances(tags, published):
    """The same shift for every packet: a player may begin at 0, but not stretch time."""
    times = {(p.type, p.digest): p.timestamp for p in compare.frames(published)}
    shifts = {times[p.type, p.digest] - p.timestamp for p in compare.frames(tags)}
    assert len(shifts) == 1, f"timestamps were shifted by {sorted(shifts)} ms"


def test_ffprobe(cluster, world, stream, clip):
    """ffprobe names both codecs and their parameters from the live stream."""
    world.publisher(cluster.rtmp, name=stream).pace(media.tags(clip), loops=10)
    code, output = run_tool(["ffprobe", "-v", "error", "-show_streams", "-of", "json", "-analyzeduration", "1M",
                             url(cluster, stream)], timeout=30)
    assert code == 0, output
    streams = {s["codec_type"]: s for s in json.loads(output)["streams"]}
    assert (streams["video"]["codec_name"], streams["video"]["width"], streams["video"]["height"]) == ("h264", 320, 180)
    assert (streams["audio"]["codec_name"], streams["audio"]["sample_rate"]) == ("aac", "44100")


def test_gstreamer_rtmp2(world, stream, clip, tmp_path):
    """GStreamer's rtmp2sink publishes and rtmp2src plays: the player's file holds what an auditing player got too."""
    cluster = world.run(play_wait="60s")  # GStreamer's first start takes its time
    out = str(tmp_path / "dump.flv")
    auditor = world.player(cluster.rtmp, name=stream, wait=False)
    player = world.start(["gst-launch-1.0", "-q", "rtmp2src", f"location={url(cluster, stream)}", "!", "filesink",
                          f"location={out}", "buffer-mode=unbuffered"], "rtmp2src")
    sink = world.start(["gst-launch-1.0", "-q", "filesrc", f"location={clip}", "!", "flvdemux", "name=d",
                        "flvmux", "name=m", "streamable=true", "!", "rtmp2sink", f"location={url(cluster, stream)}", "sync=true",
                        "d.video", "!", "queue", "!", "h264parse", "!", "m.video",
                        "d.audio", "!", "queue", "!", "aacparse", "!", "m.audio"], "rtmp2sink")
    assert sink.await_exit(30) == 0, sink.tail()
    source = digests_by_type(media.tags(clip))
    last = source[flv.AUDIO][-1]
    auditor.wait(lambda: any(m.digest == last for m in auditor.media()) and
                 len(digests_by_type(auditor.media())[flv.VIDEO]) >= len(source[flv.VIDEO]) - 1,  # flvmux writes no end of sequence
                 what="the last frames")
    got = auditor.media()
    audio = digests_by_type(got)[flv.AUDIO]
    assert len(audio) >= len(source[flv.AUDIO]) - 1  # what comes before the first keyframe may be left out
    assert audio == source[flv.AUDIO][-len(audio):]
    tags = await_recording(out, compare.frames(got)[-4], player)  # it holds back the last of a stream that does not end
    compare.assert_delivered(tags, got, until_end=False, who="rtmp2src")


def test_librtmp_publishes_and_plays(world, stream, clip, tmp_path):
    """librtmp (digest handshake, its own command order) publishes by rtmpsink and plays by rtmpdump."""
    cluster = world.run(play_wait="60s")  # as above
    out = str(tmp_path / "dump.flv")
    auditor = world.player(cluster.rtmp, name=stream, wait=False)
    player = world.start(["rtmpdump", "--live", "-r", url(cluster, stream), "-o", out], "rtmpdump")
    sink = world.start(["gst-launch-1.0", "-q", "filesrc", f"location={clip}", "!", "flvdemux", "name=d",
                        "flvmux", "name=m", "streamable=true", "!", "rtmpsink", f"location={url(cluster, stream)} live=1",
                        "sync=true", "d.video", "!", "queue", "!", "h264parse", "!", "m.video",
                        "d.audio", "!", "queue", "!", "aacparse", "!", "m.audio"], "rtmpsink")
    assert sink.await_exit(30) == 0, sink.tail()
    source = digests_by_type(media.tags(clip))
    last = source[flv.AUDIO][-1]
    auditor.wait(lambda: any(m.digest == last for m in auditor.media()), what="the last audio frame")
    poll(lambda: all(len(got) > 0.6 * len(source[kind]) for kind, got in digests_by_type(recorded(out)).items()),
         what="most of the clip in rtmpdump's file")
    player.stop(number=signal.SIGINT)  # writes out what it holds
    got = digests_by_type(flv.read(out))
    for kind in (flv.AUDIO, flv.VIDEO):
        begin = source[kind].index(got[kind][0])
        assert got[kind] == source[kind][begin:begin + len(got[kind])]


@pytest.mark.parametrize("digest", [None, 0, 1], ids=["simple", "digest-at-8", "digest-at-772"])
def test_handshakes(cluster, digest):
    """Simple and digest handshakes, with the digest in either place; S1 and S2 are checked as Flash and librtmp check them."""
    with Connection(cluster.rtmp, digest=digest) as connection:
        properties, information = connection.connect("live")
        assert information["code"] == "NetConnection.Connect.Success"
        assert "fmsVer" in properties and "capabilities" in properties


def test_handshake_and_connect_in_one_write(cluster):
    """A client that sends C2 and connect in the same segment, or everything byte by byte, is understood."""
    connect = wire.chunks(wire.COMMAND, 0, 0, 3, amf0.encode("connect", 1, {"app": "live", "tcUrl": "rtmp://127.0.0.1/live"}), 128)
    with Connection(cluster.rtmp, handshake=False) as joined:
        joined.send_raw(wire.simple_c0c1())
        answer = joined._read_exactly(1 + 2 * wire.HANDSHAKE_SIZE)
        joined.send_raw(answer[1:1 + wire.HANDSHAKE_SIZE] + connect)
        joined.wait(lambda: joined.commands("_result"), what="_result")
    with Connection(cluster.rtmp, handshake=False) as dripping:
        for byte in wire.simple_c0c1():
            dripping.send_raw(bytes([byte]))
        answer = dripping._read_exactly(1 + 2 * wire.HANDSHAKE_SIZE)
        for byte in answer[1:1 + wire.HANDSHAKE_SIZE] + connect:
            dripping.send_raw(bytes([byte]))
        dripping.wait(lambda: dripping.commands("_result"), what="_result")


def test_connect_answer_is_what_srs_clients_expect(cluster):
    """compat.md: window 2500000, peer bandwidth, `_result` with fmsVer, capabilities and mode; stream id 1."""
    with Connection(cluster.rtmp) as connection:
        properties, information = connection.connect("live")
        assert properties["mode"] == 1
        assert information["level"] == "status" and information["objectEncoding"] == 0
        assert connection.create_stream() == 1
        windows = [int.from_bytes(m.payload[:4], "big") for m in connection.messages if m.type == 5]
        assert windows == [2500000]
        assert any(m.type == 6 for m in connection.messages)


def test_publisher_gets_fcpublish_and_start(cluster, world, stream):
    """compat.md: a publisher gets onFCPublish, then NetStream.Publish.Start; a player Play.Reset, then Play.Start."""
    publisher = world.publisher(cluster.rtmp, name=stream)
    names = [c[0] for c in publisher.commands()]
    assert "onFCPublish" in names and names.index("onFCPublish") < names.index("onStatus")
    assert [s["code"] for s in publisher.statuses()] == ["NetStream.Publish.Start"]
    player = world.player(cluster.rtmp, name=stream)
    codes = [s["code"] for s in player.statuses()]
    assert codes[:2] == ["NetStream.Play.Reset", "NetStream.Play.Start"], codes


def test_session_id_is_the_same_in_both_logs(cluster, world, stream, tags):
    """The id that the proxy gave a session goes on to the origin: one grep finds the whole way."""
    publisher = world.publisher(cluster.rtmp, name=stream)
    publisher.put_all(tags[:50])
    starts = cluster.await_event("session_start", count=2, stream=lambda s: s and s.endswith("/" + stream))
    assert {e["role"] for e in starts} == {"proxy", "origin"}
    assert len({e["session"] for e in starts}) == 1, starts
    publisher.close()
    ends = cluster.await_event("session_end", count=2, session=starts[0]["session"])
    assert {e["role"] for e in ends} == {"proxy", "origin"}


def test_ffmpeg_that_is_interrupted_leaves_no_session(cluster, world, stream, clip):
    """SIGINT to ffmpeg ends its publish cleanly; the proxy's publishing sessions go back to what they were."""
    before = cluster.metrics().total("sluice_sessions", role="proxy")
    encoder = world.ffmpeg_publish(clip, url(cluster, stream), "-stream_loop", "-1")
    player = world.player(cluster.rtmp, name=stream)
    player.await_media(20)
    encoder.send_signal(signal.SIGINT)
    encoder.await_exit()
    player.close()
    poll(lambda: cluster.metrics().total("sluice_sessions", role="proxy") <= before, what="sessions to go")
