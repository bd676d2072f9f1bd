"""The segmenter without a server: an FLV goes in, players take what comes out.

`hls_tool` (tests/tool) stands beside the program, or where HLS_TOOL says.
"""
import json
import os
import subprocess
from collections import defaultdict

import pytest

from lib import flv, m3u8check, media
from lib.sluice import BINARY

TOOL = os.environ.get("HLS_TOOL") or os.path.join(os.path.dirname(BINARY), "tests", "hls_tool")

#: The containers that make_segment_muxer() has.
FORMS = ("fmp4", "ts")


def segment(path, folder, *options):
    """Runs the tool."""
    done = subprocess.run([TOOL, path, str(folder), *map(str, options)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return folder


def versions(folder):
    checker = m3u8check.Checker()
    names = sorted(n for n in os.listdir(folder) if n.startswith("v") and n.endswith(".m3u8"))
    assert names
    return [checker.check((folder / n).read_text()) for n in names]


def packets(source):
    """{video|audio: [(pts, dts, size, hash)]} as ffprobe reads them."""
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "stream=codec_type:packet=codec_type,pts_time,dts_time,size,data_hash",
         "-show_data_hash", "md5", "-of", "json", str(source)], capture_output=True, text=True, timeout=60, check=True)
    assert not done.stderr, done.stderr
    found = defaultdict(list)
    for p in json.loads(done.stdout)["packets"]:
        found[p["codec_type"]].append((float(p["pts_time"]), float(p["dts_time"]), int(p["size"]), p.get("data_hash")))
    return found


def make(seconds, gop_seconds, video=True, bframes=0):
    gop = round(gop_seconds * 25)
    picture = ["-f", "lavfi", "-i", f"testsrc2=size=320x180:rate=25:duration={seconds}"] if video else []
    encoder = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", str(gop), "-keyint_min", str(gop),
               "-sc_threshold", "0", "-bf", str(bframes), "-x264-params", "scenecut=0"] if video else []
    return media.make(f"hls-{seconds}-{gop_seconds:g}-{int(video)}-{bframes}", [
        *picture, "-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=44100:duration={seconds}", *encoder, "-c:a", "aac", "-b:a", "64k"])


def sound_before_picture(path):
    """How many audio frames stand before the first keyframe: they are in no segment."""
    count = 0
    for tag in flv.read(path):
        if flv.is_keyframe(tag.type, tag.payload):
            return count
        count += tag.type == flv.AUDIO and not flv.is_sequence_header(tag.type, tag.payload)
    return 0  # no picture at all


# Seconds, keyframe interval, video, B-frames → the segments that are expected. The last piece is longer than a second.
CASES = {
    "gop_1s": (11, 1, True, 0, 2), "gop_2s": (11, 2, True, 2, 2), "gop_12s": (27, 12, True, 2, 10), "audio": (11.6, 1, False, 0, 3),
}


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.mark.parametrize("case", CASES)
def test_players_get_every_packet(case, form, tmp_path):
    seconds, gop, video, bframes, target = CASES[case]
    source = make(seconds, gop, video, bframes)
    folder = segment(source, tmp_path / "out", "--format", form, "--window", 100000)
    last = versions(folder)[-1]
    assert last.ended and last.target == target
    assert abs(last.duration - seconds) < 0.2
    expected = packets(source)
    # ffmpeg's own reader of playlists gives the second frame of sound alone the first one's time, also from its own segments.
    alone = form == "ts" and not video
    got = packets("concat:" + "|".join(str(folder / p.uri) for p in last.segments) if alone else folder / "index.m3u8")
    assert set(got) == set(expected)
    expected["audio"] = expected["audio"][sound_before_picture(source):]
    # A TS player may begin anywhere in 33 bits; within one stream only differences count. What is in a sample differs by the container:
    # MP4 keeps FLV's, TS has start codes and ADTS headers.
    shift = got["audio"][0][1] - expected["audio"][0][1] if form == "ts" else 0
    for kind, ours in got.items():
        theirs = expected[kind]
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            # Audio runs on by its own sample rate between FLV's rounded milliseconds.
            assert abs(a[0] - shift - b[0]) <= 0.0025 and abs(a[1] - shift - b[1]) <= 0.0025, (kind, a, b)
            assert form == "ts" or a[2:] == b[2:], (kind, a, b)
            assert form == "ts" or kind == "audio" or a[:2] == pytest.approx(b[:2], abs=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_the_window_slides_by_the_rules(case, form, tmp_path):
    folder = segment(make(*CASES[case][:4]), tmp_path / "out", "--format", form, "--target", 1000, "--window", 3000)
    seen = versions(folder)
    assert all(p.target == seen[0].target for p in seen)
    if case != "gop_12s":
        assert seen[-1].sequence > seen[0].sequence, "segments leave the playlist"


@pytest.mark.parametrize("case", CASES)
def test_two_servers_make_the_same_files(case, form, tmp_path):
    source = make(*CASES[case][:4])
    one = segment(source, tmp_path / "one", "--format", form, "--window", 100000)
    states = (one / "states.txt").read_text().splitlines()
    assert len(states) >= 3
    for k in range(1, len(states)):
        other = segment(source, tmp_path / f"from{k}", "--format", form, "--window", 100000, "--resume", k)
        names = [n for n in os.listdir(other) if n.endswith((".ts", ".m4s", ".mp4"))]
        assert len([n for n in names if not n.endswith(".mp4")]) >= len(states) - k - 1
        for name in names:
            assert (other / name).read_bytes() == (one / name).read_bytes(), name
        mine, theirs = versions(other)[-1], versions(one)[-1]
        assert mine.segments == theirs.segments[-len(mine.segments):] and mine.target == theirs.target
        assert mine.sequence == theirs.sequence + k


def test_a_decoder_finds_no_fault(form, tmp_path):
    """Every frame is decoded, with ffmpeg's errors as failures; a master playlist leads there."""
    folder = segment(make(11, 2, True, 2), tmp_path / "out", "--format", form, "--window", 100000)
    done = subprocess.run(["ffmpeg", "-v", "warning", "-xerror", "-i", str(folder / "master.m3u8"), "-f", "null", "-"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_media_is_what_this_file_thinks():
    tags = flv.read(make(11, 2, True, 2))
    keys = [t.timestamp for t in tags if flv.is_keyframe(t.type, t.payload)]
    assert [k - keys[0] for k in keys] == list(range(0, 11000, 2000))


def test_the_checker_finds_every_fault():
    assert m3u8check.self_test() >= 25
