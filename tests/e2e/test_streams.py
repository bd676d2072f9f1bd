"""The life of a stream: who comes first, who comes twice, who comes late, who goes."""
import pytest

from lib import amf0, compare, enhanced, flv, media, rtmp_wire as wire
from lib.process import run_tool
from lib.rtmp import Closed, Refused
from lib.sluice import ANY_PORTS, cluster_state
from lib.waiting import poll

RELAYS = ["per-viewer", "collapse"]


@pytest.fixture(scope="module", params=RELAYS)
def cluster(request, shared_world):
    """One `run` for each relay mode: what a viewer sees must not depend on it."""
    return shared_world.run(origins=2, relay=request.param, play_wait="20s",
                            origin={"second_publisher": "takeover-if-idle", "publisher_idle": "500ms"})


def test_player_before_publisher(cluster, world, stream, tags):
    """A player that asks for a stream that is not there yet waits, and gets it from its first packet on."""
    player = world.player(cluster.rtmp, name=stream, wait=False)
    publisher = world.publisher(cluster.rtmp, name=stream)
    player.foreground().await_status("NetStream.Play.Start")
    player.background()
    publisher.put_all(tags)
    player.await_packet(compare.last_frame(tags))
    compare.assert_delivered(player.media(), tags, whole=True)


@pytest.fixture(scope="module", params=RELAYS)
def hasty(request, shared_world):
    """A cluster whose players do not wait for long."""
    return shared_world.run(origins=1, relay=request.param, play_wait="1s")


def test_play_of_a_stream_that_never_comes(hasty, world, stream):
    """After play_wait the player gets NetStream.Play.StreamNotFound, not a bare close."""
    player = world.connection(hasty.rtmp)
    player.connect("live")
    with pytest.raises(Refused) as refusal:
        player.play(stream)
    assert refusal.value.code == "NetStream.Play.StreamNotFound"


def test_late_player_starts_at_a_keyframe(cluster, world, stream, tags):
    """Metadata and sequence headers first, then the newest GOP from its keyframe on, then all that follows."""
    publisher = world.publisher(cluster.rtmp, name=stream)
    early = world.player(cluster.rtmp, name=stream)
    half = next(i for i, t in enumerate(tags) if flv.is_keyframe(t.type, t.payload) and t.timestamp > 1500)
    publisher.put_all(tags[:half + 10])
    early.await_packet(tags[half + 9].packet)
    late = world.player(cluster.rtmp, name=stream)
    publisher.put_all(tags[half + 10:])
    for player in (early, late):
        player.await_packet(compare.last_frame(tags))
    compare.assert_delivered(early.media(), tags, whole=True)
    compare.assert_delivered(late.media(), tags, who="late player")
    first = [m for m in late.media() if not flv.is_sequence_header(m.type, m.payload)][0]
    assert (first.type, first.timestamp, first.payload) == tags[half], "not from the newest keyframe on"
    assert late.data("onMetaData"), "no metadata"
    kinds = [(m.type, flv.is_sequence_header(m.type, m.payload)) for m in late.messages if m.type in (8, 9, 18)]
    first_frame = next(i for i, (kind, header) in enumerate(kinds) if kind != flv.DATA and not header)
    assert {(18, False), (9, True), (8, True)} <= set(kinds[:first_frame]), kinds[:5]


def test_ffmpeg_that_joins_ends_its_mkv(cluster, world, stream, tmp_path):
    """libavformat takes metadata at any other time than 0 for a subtitle track, whose first packet its Matroska muxer would wait for: from
    a proxy, from an origin, and by HTTP-FLV, whoever joins in mid-stream records two tracks and ends in time."""
    clip = media.clip(seconds=60)
    world.ffmpeg_publish(clip, f"rtmp://{cluster.rtmp}/live/{stream}")
    player = world.player(cluster.rtmp, name=stream)
    poll(lambda: any(m.timestamp > 1500 for m in player.media()), what="media in mid-stream")
    key = f"__defaultVhost__/live/{stream}"
    owner = poll(lambda: cluster_state(cluster.api)["streams"].get(key, {}).get("owner"), what="the owner")
    origin = next(e["rtmp"] for e in cluster.origin_events if owner.endswith(f"-{e['pid']}"))
    urls = [f"rtmp://{cluster.rtmp}/live/{stream}", f"rtmp://{origin}/live/{stream}", f"http://{cluster.http}/live/{stream}.flv"]
    files = [str(tmp_path / f"{n}.mkv") for n in range(len(urls))]
    recorders = [world.ffmpeg("-i", url, "-c", "copy", "-t", "2", "-y", file) for url, file in zip(urls, files)]
    for url, recorder, file in zip(urls, recorders, files):
        assert recorder.await_exit(60) == 0, f"{url}: {recorder.tail()}"
        _, kinds = run_tool(["ffprobe", "-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0", file])
        assert sorted(kinds.split()) == ["audio", "video"], f"{url}: {kinds}"


def test_new_sequence_header_in_mid_stream(cluster, world, stream, tags):
    """An encoder that changes its parameters: the new header goes through in its place, and later players get only the new one."""
    header = next(t for t in tags if flv.is_sequence_header(t.type, t.payload) and t.type == flv.VIDEO)
    key = next(i for i, t in enumerate(tags) if flv.is_keyframe(t.type, t.payload) and t.timestamp > 1500)
    changed = flv.Tag(flv.VIDEO, tags[key].timestamp, header.payload[:-1] + bytes([header.payload[-1] ^ 1]))
    sequence = [*tags[:key], changed, *tags[key:]]
    publisher = world.publisher(cluster.rtmp, name=stream)
    early = world.player(cluster.rtmp, name=stream)
    publisher.put_all(sequence)
    early.await_packet(compare.last_frame(sequence))
    got = [p for p, _ in compare.media(early.media())]
    assert got[got.index(changed.packet) + 1] == tags[key].packet, "the header is not in its place"
    late = world.player(cluster.rtmp, name=stream)
    late.await_packet(compare.last_frame(sequence))
    video_headers = [digest for kind, digest in compare.headers(late.media()) if kind == flv.VIDEO]
    assert set(video_headers) == {flv.digest(changed.payload)}


@pytest.mark.parametrize("farewell", ["unpublish", "reset"])
@pytest.mark.parametrize("restart", [0, 10000], ids=["from zero", "ten seconds on"])
def test_publisher_that_reconnects(cluster, world, stream, tags, farewell, restart):
    """The encoder comes back, after a clean end or a broken connection, with any clock: players that are still connected go on receiving
    every frame, and timestamps never step back."""
    first = world.publisher(cluster.rtmp, name=stream)
    player = world.player(cluster.rtmp, name=stream)
    first.put_all(tags)
    player.await_packet(compare.last_frame(tags))
    if farewell == "reset":
        first.reset()
    else:
        first.unpublish(stream)
        first.close()
    second = [flv.Tag(t.type, t.timestamp + restart, t.payload) for t in tags]
    world.publisher_again(cluster.rtmp, name=stream).put_all(second)
    compare.await_payload(player, compare.last_frame(tags), times=2)
    compare.assert_continued(player.media(), tags, second)
    assert player.closed is None


@pytest.mark.parametrize("relay", RELAYS)
def test_second_publisher_of_an_active_stream(world, relay, stream, tags):
    """Row 11: the second publisher is refused with NetStream.Publish.BadName; the first is untouched."""
    cluster = world.run(origins=2, relay=relay, origin={"second_publisher": "takeover-if-idle", "publisher_idle": "60s"})
    first = world.publisher(cluster.rtmp, name=stream).pace(tags)
    player = world.player(cluster.rtmp, name=stream)
    player.await_media(20)
    with pytest.raises(Refused) as refusal:
        world.publisher(cluster.rtmp, name=stream)
    assert refusal.value.code == "NetStream.Publish.BadName"
    first.await_sent()
    player.await_packet(compare.last_frame(tags))
    compare.assert_delivered(player.media(), tags, whole=True)


def test_second_publisher_where_it_is_always_refused(world, tags):
    """second_publisher=refuse: even a silent first keeps its stream; when it is gone the second succeeds."""
    cluster = world.run(origins=2, origin={"second_publisher": "refuse", "publisher_idle": "100ms"})
    first = world.publisher(cluster.rtmp, name="s").put_all(tags[:60])
    player = world.player(cluster.rtmp, name="s")
    player.await_packet(tags[59].packet)
    for _ in range(5):
        with pytest.raises(Refused) as refusal:
            world.publisher(cluster.rtmp, name="s")
        assert refusal.value.code == "NetStream.Publish.BadName"
    first.put_all(tags[60:])
    player.await_packet(compare.last_frame(tags))
    compare.assert_delivered(player.media(), tags, whole=True)
    first.close()
    assert cluster.await_event("session_end", role="origin", kind="publish")
    world.publisher(cluster.rtmp, name="s")


def test_second_publisher_takes_over(world, tags):
    """second_publisher=takeover: the newcomer has the stream at once, the first is told and closed."""
    cluster = world.run(origins=2, origin={"second_publisher": "takeover"})
    first = world.publisher(cluster.rtmp, name="s").put_all(tags[:60])
    player = world.player(cluster.rtmp, name="s")
    player.await_packet(tags[59].packet)
    world.publisher(cluster.rtmp, name="s").put_all(tags)
    compare.await_payload(player, compare.last_frame(tags))
    first.await_close()
    assert player.closed is None
    compare.assert_continued(player.media(), tags[:60], tags)


def test_second_publisher_of_an_idle_stream(cluster, world, stream, tags):
    """Row 40 on one proxy: a publisher that has gone silent is replaced; its players see the new one's packets."""
    ghost = world.publisher(cluster.rtmp, name=stream).put_all(tags[:60])
    player = world.player(cluster.rtmp, name=stream)
    player.await_packet(tags[59].packet)
    world.publisher_again(cluster.rtmp, name=stream).put_all(tags)
    compare.await_payload(player, compare.last_frame(tags))
    ghost.await_close()
    assert player.closed is None
    compare.assert_continued(player.media(), tags[:60], tags)


def test_pause_and_unpause(cluster, world, stream, tags):
    """pause stops the media and is confirmed; unpause goes on, at a keyframe, with the live stream."""
    publisher = world.publisher(cluster.rtmp, name=stream)
    player = world.player(cluster.rtmp, name=stream)
    publisher.put_all(tags[:60])
    player.await_packet(tags[59].packet)
    player.command("pause", 0, None, True, 0, stream_id=player.stream, csid=8)
    player.await_status("NetStream.Pause.Notify")
    count = len(player.media())
    middle = next(i for i, t in enumerate(tags) if i > 80 and flv.is_keyframe(t.type, t.payload))
    publisher.put_all(tags[60:middle])
    # Metadata comes also while paused: when this one is there, the player's own pull has brought all that was before it.
    publisher.put((flv.DATA, tags[middle - 1].timestamp, amf0.encode("onMetaData", amf0.Ecma(title="the pause"))))
    player.wait(lambda: any(d[1].get("title") == "the pause" for d in player.data("onMetaData")), what="metadata while paused")
    assert len(player.media()) == count, "media came while paused"
    player.command("pause", 0, None, False, 0, stream_id=player.stream, csid=8)
    player.await_status("NetStream.Unpause.Notify")
    publisher.put_all(tags[middle:])
    player.await_packet(compare.last_frame(tags))
    resumed = player.media()[count:]
    video = next(m for m in resumed if m.type == flv.VIDEO and not flv.is_sequence_header(m.type, m.payload))
    assert packet_of(video) == tags[middle].packet, "video did not resume at the next keyframe"
    live = [p for p in compare.frames(tags[middle:])]
    assert compare.frames(resumed)[-len(live):] == live
    paused = set(compare.frames(tags[60:middle]))
    assert not paused & set(compare.frames(resumed)), "what was sent during the pause came after it"


def packet_of(message):
    return flv.Packet(message.type, message.timestamp, message.digest)


def test_close_stream_then_publish_again(cluster, world, stream, tags):
    """closeStream ends the publish and keeps the connection; the same connection publishes another stream."""
    publisher = world.publisher(cluster.rtmp, name=stream + "a")
    publisher.put_all(tags[:30])
    publisher.command("closeStream", 0, None, stream_id=publisher.stream)
    publisher.foreground()
    publisher.stream = publisher.publish(stream + "b")
    publisher.background()
    player = world.player(cluster.rtmp, name=stream + "b")
    publisher.put_all(tags)
    player.await_packet(compare.last_frame(tags))
    compare.assert_delivered(player.media(), tags, whole=True)


def test_delete_stream_then_play(cluster, world, stream, tags):
    """A connection that published plays, on a new message stream, what another publishes."""
    world.publisher(cluster.rtmp, name=stream + "b").put_all(tags)
    connection = world.publisher(cluster.rtmp, name=stream + "a").put_all(tags[:30])
    connection.unpublish(stream + "a")
    connection.foreground()
    connection.play(stream + "b")
    connection.background()
    connection.await_packet(compare.last_frame(tags))
    compare.assert_delivered(connection.media(), tags)


@pytest.mark.parametrize("codec", ["hvc1", "av01", "vp09"])
def test_enhanced_rtmp_passes_through(cluster, world, stream, codec):
    """HEVC, AV1 and VP9 with Opus (FourCC): every message, whatever its packet type, byte for byte; late players get the configuration."""
    config = {"hvc1": enhanced.HVCC, "av01": enhanced.AV1C, "vp09": enhanced.VPCC}[codec]
    tags = enhanced.codec_stream(codec, config, "Opus", enhanced.OPUS_HEAD)
    publisher = world.publisher(cluster.rtmp, name=stream, connect={"fourCcList": ["*"], "capsEx": 7})
    player = world.player(cluster.rtmp, name=stream, connect={"fourCcList": ["*"]})
    publisher.put_all(tags)
    player.await_packet(tags[-1].packet)
    compare.assert_delivered(player.media(), tags, whole=True)
    late = world.player(cluster.rtmp, name=stream)
    late.await_packet(tags[-1].packet)
    compare.assert_delivered(late.media(), tags, who="late player")


@pytest.mark.parametrize("codec", ["ac-3", "fLaC"])
def test_enhanced_audio_passes_through(cluster, world, stream, codec):
    """AC-3 and FLAC by FourCC beside HEVC."""
    config = enhanced.FLAC_HEAD if codec == "fLaC" else b"\x10\x3d\xe0"
    tags = enhanced.codec_stream("hvc1", enhanced.HVCC, codec, config)
    publisher = world.publisher(cluster.rtmp, name=stream)
    player = world.player(cluster.rtmp, name=stream)
    publisher.put_all(tags)
    player.await_packet(tags[-1].packet)
    compare.assert_delivered(player.media(), tags, whole=True)


def test_multitrack_passes_through(cluster, world, stream):
    """Multitrack messages and ModEx prefixes of Enhanced RTMP v2 come out as they went in."""
    tags = enhanced.multitrack_stream()
    publisher = world.publisher(cluster.rtmp, name=stream)
    player = world.player(cluster.rtmp, name=stream)
    publisher.put_all(tags)
    player.await_packet(tags[-1].packet)
    compare.assert_delivered(player.media(), tags, whole=True)


def test_unknown_messages_and_data_pass_through(cluster, world, stream, tags):
    """A codec nobody knows, data messages (cue points, AMF3), an unknown message type: unharmed, in their place."""
    odd = [flv.Tag(flv.VIDEO, 3001, bytes([0x1F]) + enhanced.noise("odd", 500)),
           flv.Tag(flv.AUDIO, 3002, bytes([0xF0]) + enhanced.noise("odd sound", 90)),
           flv.Tag(flv.VIDEO, 3003, enhanced.video(enhanced.INTER, 9, "zzzz", b"future"))]
    publisher = world.publisher(cluster.rtmp, name=stream)
    player = world.player(cluster.rtmp, name=stream)
    publisher.put_all(tags[:60])
    for tag in odd:
        publisher.put(tag)
    cue = amf0.encode("onCuePoint", {"name": "ad", "time": 3.0, "type": "event"})
    publisher.send(wire.DATA, cue, 3004, publisher.stream, 5)
    amf3 = b"\x00" + amf0.encode("onTextData", {"text": "hello"})
    publisher.send(wire.DATA_AMF3, amf3, 3005, publisher.stream, 5)
    publisher.send(30, b"a type nobody knows", 3006, publisher.stream, 7)
    publisher.put(flv.Tag(tags[60].type, 3007, tags[60].payload))
    player.await_packet(flv.Packet(tags[60].type, 3007, flv.digest(tags[60].payload)))
    got = [(m.type, m.timestamp, m.payload) for m in player.messages]
    for want in [*odd, (wire.DATA, 3004, cue), (wire.DATA_AMF3, 3005, amf3), (30, 3006, b"a type nobody knows")]:
        assert tuple(want) in got, f"lost or changed: {want[:2]}"


def test_aggregate_message(cluster, world, stream, tags):
    """An aggregate (type 22) is taken apart: players get its parts with their own timestamps (RTMP 1.0, 7.1.6)."""
    publisher = world.publisher(cluster.rtmp, name=stream)
    player = world.player(cluster.rtmp, name=stream)
    publisher.put_all(tags[:10])
    parts, body = [flv.Tag(t.type, t.timestamp, t.payload) for t in tags[10:20]], bytearray()
    for tag in parts:
        body += bytes([tag.type]) + len(tag.payload).to_bytes(3, "big") + (tag.timestamp & 0xFFFFFF).to_bytes(3, "big")
        body += bytes([tag.timestamp >> 24]) + bytes(3) + tag.payload + (len(tag.payload) + 11).to_bytes(4, "big")
    publisher.send(wire.AGGREGATE, bytes(body), parts[0].timestamp, publisher.stream, 6)
    publisher.put_all(tags[20:])
    player.await_packet(compare.last_frame(tags))
    compare.assert_delivered(player.media(), tags, whole=True)


def test_get_stream_length_and_unknown_commands(cluster, world, stream, tags):
    """getStreamLength is answered; a command nobody knows does not end the session."""
    publisher = world.publisher(cluster.rtmp, name=stream).put_all(tags[:20])
    player = world.connection(cluster.rtmp)
    player.connect("live")
    player.command("getStreamLength", 4, None, stream)
    player.wait(lambda: [c for c in player.commands("_result") if c[1] == 4], what="answer to getStreamLength")
    player.command("somethingNobodyKnows", 5, None, {"a": [1, 2]})
    player.play(stream)
    publisher.put_all(tags[20:])
    player.await_packet(compare.last_frame(tags))


def test_publisher_leaves_before_play_wait_ends(cluster, world, stream, tags):
    """A player who goes away while he waits leaves nothing behind: the stream can be published and played."""
    waiting = world.player(cluster.rtmp, name=stream, wait=False)
    waiting.reset()
    publisher = world.publisher(cluster.rtmp, name=stream)
    player = world.player(cluster.rtmp, name=stream)
    publisher.put_all(tags)
    player.await_packet(compare.last_frame(tags))


def test_refused_play_keeps_the_connection_usable(hasty, world, stream, tags):
    """A StreamNotFound is an answer, not the end: the same connection, or a new one, plays another stream."""
    world.publisher(hasty.rtmp, name=stream + "there").put_all(tags)
    player = world.connection(hasty.rtmp)
    player.connect("live")
    with pytest.raises(Refused):
        player.play(stream + "missing")
    try:
        player.play(stream + "there")
    except (Closed, OSError):
        player = world.player(hasty.rtmp, name=stream + "there")
    player.await_packet(compare.last_frame(tags))


def test_auto_collapses_for_our_origins(world, tags):
    """relay=auto: however many viewers a stream of a Sluice origin has, a proxy pulls it once."""
    proxy = world.proxy(shards=1)
    origin = world.origin([proxy])
    publisher = world.publisher(proxy.rtmp, name="s")
    players = [world.player(proxy.rtmp, name="s") for _ in range(5)]
    publisher.put_all(tags)
    for player in players:
        player.await_packet(compare.last_frame(tags))
        compare.assert_delivered(player.media(), tags, whole=True)
    origin.await_event("session_start", kind="play")
    assert len(origin.find("session_start", kind="play")) == 1


def test_ipv6(world, tags):
    """Everything over [::1]: listeners, registration, relay."""
    ports = [text.replace("127.0.0.1:0", "[::1]:0") for text in ANY_PORTS]
    proxy = world.proxy(ports=ports)
    world.origin([proxy], rtmp="[::1]:0")
    publisher = world.publisher(proxy.rtmp, name="s")
    player = world.player(proxy.rtmp, name="s", tc_url=f"rtmp://{proxy.rtmp}/live")
    publisher.put_all(tags)
    player.await_packet(compare.last_frame(tags))
    compare.assert_delivered(player.media(), tags, whole=True)
