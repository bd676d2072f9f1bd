"""Enhanced RTMP v1/v2 packets (the Veovera specification), written by hand: Debian's tools speak none."""
import hashlib

from . import flv

#: Frame types and packet types of the extended video header.
KEY, INTER = 1, 2
SEQUENCE_START, CODED_FRAMES, SEQUENCE_END, CODED_FRAMES_X, METADATA, MULTITRACK, MOD_EX = 0, 1, 2, 3, 4, 6, 7
AUDIO_MULTICHANNEL, AUDIO_MULTITRACK = 4, 5

def _hvcc():
    """HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1) of Main profile, level 3.1, with a VPS, an SPS and a PPS."""
    parameter_sets = [(32, "40010c01ffff016000000300900000030000030078959809"),
                      (33, "42010101600000030090000003000003007aa003c08010e5966566924caee6a0200000030020000003032100"),
                      (34, "4401c172b46240")]
    out = bytearray.fromhex("01 01 60000000 900000000000 5d f000 fc fd f8 f8 0000 0f") + bytes([len(parameter_sets)])
    for kind, text in parameter_sets:
        unit = bytes.fromhex(text)
        out += bytes([0x80 | kind, 0, 1]) + len(unit).to_bytes(2, "big") + unit
    return bytes(out)


HVCC = _hvcc()
AV1C = bytes.fromhex("81050c000a0b00000024c4ffdf0068022032")
#: VPCodecConfigurationBox with its version: profile 0, level 1, 8 bits, 4:2:0 (1: collocated), BT.709.
VPCC = bytes.fromhex("01000000000a820202020000")
OPUS_HEAD = b"OpusHead" + bytes.fromhex("01023801" "80bb0000" "000000")
FLAC_HEAD = b"fLaC" + bytes.fromhex("80000022" "1000100000000000000000bb8002f000000000") + bytes(16)


def video(frame, packet, fourcc, body):
    return bytes([0x80 | frame << 4 | packet]) + fourcc.encode() + body


def audio(packet, fourcc, body):
    return bytes([0x90 | packet]) + fourcc.encode() + body


def noise(label, size):
    """Bytes that no codec made, the same for the same label."""
    out = b""
    while len(out) < size:
        out += hashlib.sha256(f"{label}/{len(out)}".encode()).digest()
    return out[:size]


def _composition(ms):
    return ms.to_bytes(3, "big", signed=True)


def codec_stream(video_fourcc, video_config, audio_fourcc, audio_config, frames=60, gop=20):
    """Configuration records, then `frames` frames 40 ms apart with a keyframe every `gop`, and audio between."""
    tags = [flv.Tag(flv.VIDEO, 0, video(KEY, SEQUENCE_START, video_fourcc, video_config)),
            flv.Tag(flv.AUDIO, 0, audio(SEQUENCE_START, audio_fourcc, audio_config))]
    for n in range(frames):
        at = n * 40
        kind = KEY if n % gop == 0 else INTER
        body = noise(f"{video_fourcc}{n}", 3000 if kind == KEY else 300)
        if video_fourcc == "hvc1" and n % 2 == 0:
            payload = video(kind, CODED_FRAMES, video_fourcc, _composition(40) + body)
        elif video_fourcc == "hvc1":
            payload = video(kind, CODED_FRAMES_X, video_fourcc, body)
        else:
            payload = video(kind, CODED_FRAMES, video_fourcc, body)
        tags.append(flv.Tag(flv.VIDEO, at, payload))
        tags.append(flv.Tag(flv.AUDIO, at + 5, audio(CODED_FRAMES, audio_fourcc, noise(f"{audio_fourcc}{n}", 120))))
    tags.append(flv.Tag(flv.VIDEO, frames * 40, video(INTER, METADATA, video_fourcc, bytes.fromhex("020009636f6c6f72496e666f0300000009"))))
    tags.append(flv.Tag(flv.VIDEO, frames * 40 + 1, video(INTER, SEQUENCE_END, video_fourcc, b"")))
    return tags


def _track(number, body):
    return bytes([number]) + len(body).to_bytes(3, "big") + body


def multitrack_stream(frames=40, gop=20):
    """Two HEVC tracks in one message (ManyTracks), one track alone (OneTrack), nanosecond ModEx, multitrack Opus."""
    def many(frame, packet, bodies):
        return bytes([0x80 | frame << 4 | MULTITRACK, 1 << 4 | packet]) + b"hvc1" + b"".join(_track(n, b) for n, b in enumerate(bodies))

    def one(frame, packet, body):
        return bytes([0x80 | frame << 4 | MULTITRACK, 0 << 4 | packet]) + b"hvc1\0" + body

    def sound(packet, body):
        return bytes([0x90 | AUDIO_MULTITRACK, 0 << 4 | packet]) + b"Opus\0" + body

    tags = [flv.Tag(flv.VIDEO, 0, many(KEY, SEQUENCE_START, [HVCC, HVCC])),
            flv.Tag(flv.AUDIO, 0, sound(SEQUENCE_START, OPUS_HEAD))]
    for n in range(frames):
        at = n * 40
        kind = KEY if n % gop == 0 else INTER
        tags.append(flv.Tag(flv.VIDEO, at, many(kind, CODED_FRAMES_X, [noise(f"m{n}", 900), noise(f"n{n}", 400)])))
        if n % 5 == 4:
            tags.append(flv.Tag(flv.VIDEO, at + 1, one(INTER, CODED_FRAMES_X, noise(f"o{n}", 200))))
            # ModEx (7): its size less one, its data (nanoseconds), then the type of ModEx and the true packet type.
            tags.append(flv.Tag(flv.VIDEO, at + 2, bytes([0x80 | INTER << 4 | MOD_EX, 2, 0, 1, 0xF4, 0 << 4 | CODED_FRAMES_X])
                                + b"hvc1" + noise(f"x{n}", 150)))
        tags.append(flv.Tag(flv.AUDIO, at + 5, sound(CODED_FRAMES, noise(f"a{n}", 100))))
    return tags
