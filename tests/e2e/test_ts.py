"""MPEG-TS as ts_mux_tool makes it of FLV: by the standard's rules (lib/tscheck), and as libavformat reads it."""
import json
import os
import subprocess

import pytest

from lib import enhanced, flv, media, tscheck
from lib.sluice import BINARY

TOOL = os.environ.get("TS_MUX_TOOL") or os.path.join(os.path.dirname(BINARY), "tests", "ts_mux_tool")
OFFSET = 90_000  # what the bridge adds to every timestamp


def mux(data, audio_pes_ms=0, segments=False):
    """FLV bytes → (TS bytes, what the tool says)."""
    assert os.path.exists(TOOL), f"{TOOL} is not there: scripts/build.sh release ts_mux_tool"
    done = subprocess.run([TOOL, str(audio_pes_ms), str(int(segments))], input=data, capture_output=True, check=True, timeout=60)
    return done.stdout, done.stderr.decode()


def flv_file(tags):
    out = bytearray(b"FLV\1\5\0\0\0\x09\0\0\0\0")
    for tag in tags:
        out += bytes([tag.type]) + len(tag.payload).to_bytes(3, "big") + (tag.timestamp & 0xFFFFFF).to_bytes(3, "big")
        out += bytes([tag.timestamp >> 24 & 0xFF, 0, 0, 0]) + tag.payload + (len(tag.payload) + 11).to_bytes(4, "big")
    return bytes(out)


def make(name, arguments):
    return media.make(name, arguments)


@pytest.fixture(scope="module")
def b_frames():
    """H.264 with B-frames and AAC, 4 s."""
    return make("ts-h264-aac", [
        "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=4", "-f", "lavfi", "-i", "sine=sample_rate=44100:duration=4",
        "-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "50", "-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "2"])


@pytest.fixture(scope="module")
def sound_only():
    return make("ts-mp3", ["-f", "lavfi", "-i", "sine=sample_rate=44100:duration=3", "-c:a", "libmp3lame", "-ac", "2"])


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    path.write_bytes(data)
    return str(path)


def packets(path, kind):
    """(PTS, DTS) in ticks of each packet, as libavformat reads them."""
    done = subprocess.run(["ffprobe", "-v", "error", "-select_streams", kind, "-show_entries", "packet=pts_time,dts_time", "-of", "json", path],
                          capture_output=True, check=True)
    assert not done.stderr, done.stderr.decode()
    return [(round(float(p["pts_time"]) * 90000), round(float(p["dts_time"]) * 90000)) for p in json.loads(done.stdout)["packets"]]


def hashes(path, *arguments):
    done = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", path, *arguments, "-f", "framehash", "-hash", "md5", "-"],
                          capture_output=True, check=True)
    assert not done.stderr, done.stderr.decode()
    # stream, DTS, PTS, duration, size, hash, and then side data
    return [line.split(",")[5].strip() for line in done.stdout.decode().splitlines() if not line.startswith("#")]


# The units that the bridge adds, or that an Annex B converter adds in places of its own, are taken out on both sides.
UNITS = "filter_units=remove_types=7-9"


@pytest.mark.parametrize("audio_pes_ms", [0, 100])
def test_h264_and_aac_as_libavformat_reads_them(b_frames, tmp_path, audio_pes_ms):
    data, said = mux(read(b_frames), audio_pes_ms)
    assert said == "broken: 0\n"
    stream = tscheck.check(data)
    assert sorted(stream.tracks.values()) == [tscheck.AAC, tscheck.H264] and stream.discontinuities == 0
    ts = write(tmp_path / "out.ts", data)
    times = packets(b_frames, "v")
    assert len(times) == 100 and any(pts != dts for pts, dts in times)
    assert packets(ts, "v") == [(pts + OFFSET, dts + OFFSET) for pts, dts in times]
    assert hashes(ts, "-map", "0:v", "-c", "copy", "-bsf:v", UNITS) == \
        hashes(b_frames, "-map", "0:v", "-c", "copy", "-bsf:v", "h264_mp4toannexb," + UNITS)
    assert hashes(ts, "-map", "0:v") == hashes(b_frames, "-map", "0:v"), "decoded pictures"
    assert hashes(ts, "-map", "0:a", "-c", "copy", "-bsf:a", "aac_adtstoasc") == hashes(b_frames, "-map", "0:a", "-c", "copy")
    if audio_pes_ms == 0:
        assert packets(ts, "a") == [(pts + OFFSET, dts + OFFSET) for pts, dts in packets(b_frames, "a")]
    else:
        assert len(stream.of(tscheck.AAC)) * 4 < len(packets(b_frames, "a")) + 8


def test_audio_alone_carries_the_clock(sound_only, tmp_path):
    data, said = mux(read(sound_only))
    assert said == "broken: 0\n"
    stream = tscheck.check(data)
    assert list(stream.tracks.values()) == [tscheck.MP3]
    ts = write(tmp_path / "out.ts", data)
    assert packets(ts, "a") == [(pts + OFFSET, dts + OFFSET) for pts, dts in packets(sound_only, "a")]
    assert hashes(ts, "-c", "copy") == hashes(sound_only, "-c", "copy")


def test_channels_that_only_a_program_config_element_says(tmp_path):
    """AudioSpecificConfig with channel configuration 0: the element goes into each frame."""
    quad = make("ts-quad", ["-f", "lavfi", "-i", "sine=sample_rate=48000:duration=1,aformat=channel_layouts=quad", "-c:a", "aac", "-b:a", "128k"])
    config = next(t.payload[2:] for t in flv.read(quad) if flv.is_sequence_header(t.type, t.payload))
    assert config[1] & 0x78 == 0, "channel configuration 0"
    data, said = mux(read(quad))
    assert said == "broken: 0\n"
    tscheck.check(data)
    ts = write(tmp_path / "out.ts", data)
    assert hashes(ts) == hashes(quad), "decoded sound"


def test_segments_are_the_same_from_any_start(b_frames):
    """Each segment stands alone, and one that a later viewer's server made has the same bytes."""
    tags = flv.read(b_frames)
    whole, _ = mux(read(b_frames), 100, segments=True)
    starts = [n for n, t in enumerate(tags) if flv.is_keyframe(t.type, t.payload)]
    assert len(starts) >= 2
    headers = [t for t in tags if flv.is_sequence_header(t.type, t.payload)]
    tail, _ = mux(flv_file(headers + tags[starts[-1]:]), 100, segments=True)
    assert whole.endswith(tail) and len(tail) < len(whole)
    tscheck.check(tail)
    head = whole[:-len(tail)]
    stream = tscheck.check(head)
    assert stream.pes and tscheck.demux(head + tail).errors, "counters begin again, so the two are no one stream"


def test_timestamps_wrap(b_frames):
    """32 bits of milliseconds wrap where 33 bits of 90 kHz do, which happens to be the same place every 49 days."""
    tags = flv.read(b_frames)
    shift = (1 << 32) - 2000
    moved = [t if flv.is_sequence_header(t.type, t.payload) else t._replace(timestamp=(t.timestamp + shift) & 0xFFFFFFFF) for t in tags]
    stream = tscheck.check(mux(flv_file(moved))[0])
    plain = tscheck.check(mux(flv_file(tags))[0])
    assert stream.discontinuities == 0
    for kind in (tscheck.H264, tscheck.AAC):
        assert [(u.pts, u.dts, u.payload) for u in stream.of(kind)] == \
            [((u.pts + shift * 90) % tscheck.WRAP, (u.dts + shift * 90) % tscheck.WRAP, u.payload) for u in plain.of(kind)]
    dts = [u.dts for u in stream.of(tscheck.H264)]
    assert dts[0] > dts[-1], "it did wrap"


@pytest.mark.parametrize("jump", [20_000, 3_600_000, -2000])
def test_a_jump_is_a_discontinuity(b_frames, jump):
    tags = flv.read(b_frames)
    middle = [n for n, t in enumerate(tags) if flv.is_keyframe(t.type, t.payload)][1]
    moved = tags[:middle] + [t._replace(timestamp=t.timestamp + jump) for t in tags[middle:]]
    stream = tscheck.check(mux(flv_file(moved))[0])
    assert stream.discontinuities == 1


def test_a_pause_is_filled_with_clock(b_frames):
    tags = flv.read(b_frames)
    moved = [t._replace(timestamp=t.timestamp + (3000 if t.timestamp > 1000 else 0)) for t in tags]
    stream = tscheck.check(mux(flv_file(moved))[0])
    assert stream.discontinuities == 0


# -- what ffmpeg's FLV muxer cannot write

def annex_b_units(data):
    return [unit.rstrip(b"\0") for unit in data.split(b"\0\0\1")[1:]]


@pytest.fixture(scope="module")
def hevc_and_ac3(tmp_path_factory):
    """Enhanced RTMP bodies made of what ffmpeg encoded: (FLV bytes, the frames' units, the sound's frames)."""
    folder = tmp_path_factory.mktemp("hevc")
    run = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "lavfi"]
    subprocess.run([*run, "-i", "testsrc2=size=320x180:rate=25:duration=2", "-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
                    "-x265-params", "log-level=none:aud=1:bframes=0:keyint=25:min-keyint=25:scenecut=0:repeat-headers=1:info=0",
                    "-f", "hevc", folder / "v.hevc"], check=True)
    subprocess.run([*run, "-i", "sine=sample_rate=48000:duration=2", "-ac", "2", "-c:a", "ac3", "-b:a", "192k", "-f", "ac3", folder / "a.ac3"],
                   check=True)
    frames, sets = [], {}
    for unit in annex_b_units(read(folder / "v.hevc")):
        kind = unit[0] >> 1 & 63
        if kind == 35:
            frames.append([])
        elif kind in (32, 33, 34):
            sets[kind] = unit
        elif kind < 32:
            frames[-1].append(unit)
    record = bytearray(enhanced.HVCC[:22]) + bytes([3])
    for kind, unit in sorted(sets.items()):
        record += bytes([0x80 | kind, 0, 1]) + len(unit).to_bytes(2, "big") + unit
    sound = read(folder / "a.ac3")
    sound = [sound[at:at + 768] for at in range(0, len(sound), 768)]
    tags = [flv.Tag(flv.VIDEO, 0, enhanced.video(enhanced.KEY, enhanced.SEQUENCE_START, "hvc1", bytes(record)))]
    for n, units in enumerate(frames):
        key = 16 <= units[0][0] >> 1 & 63 <= 23
        body = b"".join(len(u).to_bytes(4, "big") + u for u in units)
        tags.append(flv.Tag(flv.VIDEO, n * 40, enhanced.video(enhanced.KEY if key else enhanced.INTER, enhanced.CODED_FRAMES_X, "hvc1", body)))
    tags += [flv.Tag(flv.AUDIO, n * 32, enhanced.audio(enhanced.CODED_FRAMES, "ac-3", frame)) for n, frame in enumerate(sound)]
    tags[1:] = sorted(tags[1:], key=lambda t: t.timestamp)
    return flv_file(tags), frames, sound, str(folder / "v.hevc")


def test_hevc_and_ac3(hevc_and_ac3, tmp_path):
    data, frames, sound, original = hevc_and_ac3
    made, said = mux(data)
    assert said == "broken: 0\n"
    stream = tscheck.check(made)
    assert sorted(stream.tracks.values()) == [tscheck.HEVC, tscheck.AC3]
    assert [u.payload for u in stream.of(tscheck.AC3)] == sound
    assert [u.dts for u in stream.of(tscheck.HEVC)] == [OFFSET + n * 3600 for n in range(len(frames))]
    coded = [[n for n in annex_b_units(u.payload) if n[0] >> 1 & 63 < 32] for u in stream.of(tscheck.HEVC)]
    assert coded == frames
    ts = write(tmp_path / "out.ts", made)
    assert hashes(ts, "-map", "0:v") == hashes(original, "-map", "0:v"), "decoded pictures"
    assert len(packets(ts, "a")) == len(sound)


def test_opus(tmp_path):
    sound = [bytes([0xFC]) + enhanced.noise(n, size) for n, size in enumerate((1, 200, 253, 254, 255, 509, 510, 700))]
    tags = [flv.Tag(flv.AUDIO, 0, enhanced.audio(enhanced.SEQUENCE_START, "Opus", enhanced.OPUS_HEAD))]
    tags += [flv.Tag(flv.AUDIO, n * 20, enhanced.audio(enhanced.CODED_FRAMES, "Opus", one)) for n, one in enumerate(sound)]
    made, _ = mux(flv_file(tags))
    stream = tscheck.check(made)
    assert list(stream.descriptors.values()) == [b"\x05\x04Opus\x7f\x02\x80\x02"]
    assert [tscheck.opus_packets(u.payload) for u in stream.of(tscheck.PRIVATE)] == [[one] for one in sound]
    probe = subprocess.run(["ffprobe", "-v", "quiet", "-show_entries", "stream=codec_name,channels", "-of", "csv=p=0", write(tmp_path / "o.ts", made)],
                           capture_output=True, check=True)
    assert probe.stdout.decode().split()[0] == "opus,2"


def test_what_ts_cannot_carry_is_named():
    made, said = mux(flv_file(enhanced.codec_stream("av01", enhanced.AV1C, "fLaC", enhanced.FLAC_HEAD)))
    assert made == b"" and said == "left out: video AV1\nleft out: audio FLAC\nbroken: 0\n"
    made, said = mux(flv_file(enhanced.codec_stream("vp09", enhanced.VPCC, "Opus", enhanced.OPUS_HEAD)))
    assert list(tscheck.check(made).tracks.values()) == [tscheck.PRIVATE] and said == "left out: video VP9\nbroken: 0\n"


# -- the checker itself: each kind of error is found

@pytest.fixture(scope="module")
def good(b_frames):
    return mux(read(b_frames))[0]


def pid_of(p):
    return (p[1] & 0x1F) << 8 | p[2]


def nth(parts, pid, n=0, test=lambda p: True):
    """Index of packet n of a PID."""
    return [i for i, p in enumerate(parts) if pid_of(p) == pid and test(p)][n]


def starts(p):
    return p[1] & 0x40 and p[3] & 0x10


def has_pcr(p):
    return p[3] & 0x20 and p[4] > 6 and p[5] & 0x10


def pes_at(p):
    return 4 + (1 + p[4] if p[3] & 0x20 else 0)


VIDEO_PID, AUDIO_PID, PMT_PID = 0x100, 0x101, 0x1000


def change(find, edit):
    def damage(parts):
        edit(parts[find(parts)])
    return damage


def flip(position, bits):
    def edit(p):
        p[position(p) if callable(position) else position] ^= bits
    return edit


def drop(find):
    def damage(parts):
        del parts[find(parts)]
    return damage


def drop_all(test):
    def damage(parts):
        parts[:] = [p for i, p in enumerate(parts) if i < 4 or not test(p)]
    return damage


def move_pcr(ms):
    def edit(p):
        value = int.from_bytes(p[6:12], "big") + (ms * 90 << 15)
        p[6:12] = value.to_bytes(6, "big")
    return edit


def raise_version(p):
    p[10] += 2
    p[5 + 3 + p[7] - 4:5 + 3 + p[7]] = tscheck.crc32(bytes(p[5:5 + 3 + p[7] - 4])).to_bytes(4, "big")


def swap_times(p):
    """PTS and DTS in each other's place."""
    at = pes_at(p) + 9
    p[at:at + 10] = bytes([p[at + 5] | 0x20]) + p[at + 6:at + 10] + bytes([p[at] & 0x1F]) + p[at + 1:at + 5]


def mark_discontinuity(p):
    p[5] |= 0x80


DAMAGES = {
    "no whole packets": lambda parts: parts.append(bytearray(b"\x47")),
    "no sync byte": change(lambda p: 7, flip(0, 1)),
    "scrambling": change(lambda p: 7, flip(3, 0x80)),
    "adaptation_field_control 0": change(lambda p: 7, lambda p: p.__setitem__(3, p[3] & 0xCF)),
    "adaptation field of": change(lambda p: nth(p, VIDEO_PID, 0, has_pcr), lambda p: p.__setitem__(4, 183)),
    "reserved bits of the PCR": change(lambda p: nth(p, VIDEO_PID, 0, has_pcr), flip(10, 0x02)),
    "stuffing is not": change(lambda p: nth(p, AUDIO_PID, 0, lambda q: q[3] & 0x20 and q[4] > 3), flip(6, 0x55)),
    "continuity of PID 0x100": drop(lambda p: nth(p, VIDEO_PID, 3, lambda q: not starts(q))),
    "continuity of PID 0x101": drop(lambda p: nth(p, AUDIO_PID, 3)),
    "continuity of PID 0x0": drop(lambda p: nth(p, 0, 1)),
    "is in no PMT": lambda parts: parts.insert(9, bytearray(b"\x47\x41\x77\x10" + bytes(184))),
    "PCR goes back": change(lambda p: nth(p, VIDEO_PID, 3, has_pcr), move_pcr(-200)),
    "PCR interval": change(lambda p: nth(p, VIDEO_PID, 3, has_pcr), move_pcr(101)),
    "before PCR": change(lambda p: nth(p, VIDEO_PID, 3, has_pcr), move_pcr(600)),
    "a PCR on PID": lambda parts: parts.insert(9, bytearray(b"\x47\x01\x01\x20\xb7\x10" + bytes(4) + b"\x7e\0" + b"\xff" * 176)),
    "no PAT for": drop_all(lambda p: pid_of(p) == 0),
    "no PMT for": drop_all(lambda p: pid_of(p) == PMT_PID),
    "PMT: CRC": change(lambda p: nth(p, PMT_PID, 1), flip(20, 1)),
    "PAT: CRC": change(lambda p: nth(p, 0, 1), flip(14, 1)),
    "bytes behind the section": change(lambda p: nth(p, PMT_PID, 1), flip(187, 1)),
    "PMT version": change(lambda p: nth(p, PMT_PID, 1), raise_version),
    "no tables right before": lambda parts: parts.__delitem__(slice(nth(parts, VIDEO_PID, 1, lambda q: starts(q) and q[5] & 0x40) - 2,
                                                                   nth(parts, VIDEO_PID, 1, lambda q: starts(q) and q[5] & 0x40))),
    "media before the first PCR": change(lambda p: nth(p, VIDEO_PID, 0, has_pcr), lambda p: (flip(5, 0x10)(p), p.__setitem__(slice(6, 12), b"\xff" * 6))),
    "no PES header": change(lambda p: nth(p, VIDEO_PID, 1, starts), flip(pes_at, 1)),
    "PES header flags": change(lambda p: nth(p, VIDEO_PID, 1, starts), flip(lambda p: pes_at(p) + 8, 1)),
    "marker bits": change(lambda p: nth(p, VIDEO_PID, 1, starts), flip(lambda p: pes_at(p) + 9, 1)),
    "before DTS": change(lambda p: nth(p, VIDEO_PID, 5, lambda q: starts(q) and q[pes_at(q) + 7] == 0xC0), swap_times),
    "DTS goes back": change(lambda p: nth(p, AUDIO_PID, 12, starts), lambda p: p.__setitem__(slice(pes_at(p) + 9, pes_at(p) + 14), b"\x21\0\5\xbf\x21")),
    "PES of": change(lambda p: nth(p, AUDIO_PID, 1, starts), flip(lambda p: pes_at(p) + 5, 1)),
    "payload without a start": lambda parts: parts.__setitem__(slice(2, 4), [parts[3]]),
    "without an access unit delimiter": change(lambda p: nth(p, VIDEO_PID, 0, starts), flip(lambda p: pes_at(p) + 19 + 4, 0x20)),
    "ADTS frames": change(lambda p: nth(p, AUDIO_PID, 1, starts), flip(lambda p: pes_at(p) + 14, 0x20)),
}


@pytest.mark.parametrize("text", DAMAGES)
def test_the_checker_finds(good, text):
    parts = [bytearray(good[at:at + 188]) for at in range(0, len(good), 188)]
    assert not tscheck.demux(good).errors
    DAMAGES[text](parts)
    errors = tscheck.demux(b"".join(parts)).errors
    assert any(text in e for e in errors), errors[:5]


def test_the_checker_counts_discontinuities(good):
    parts = [bytearray(good[at:at + 188]) for at in range(0, len(good), 188)]
    mark_discontinuity(parts[nth(parts, VIDEO_PID, 4, has_pcr)])
    assert tscheck.demux(b"".join(parts)).discontinuities == 1
