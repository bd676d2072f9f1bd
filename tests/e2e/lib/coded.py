"""Streams of real codecs, such as browsers decode: made by ffmpeg once, packed as Enhanced RTMP (which Debian's ffmpeg does not write), published for ever."""
import functools

import av

from . import amf0, enhanced, flv, media, rtmp_wire as wire

_VIDEO = {
    "h264": ["libx264", "-preset", "ultrafast", "-tune", "zerolatency"],
    "hevc": ["libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:bframes=0:keyint=25:min-keyint=25"],
    "vp9": ["libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"],
    "flv1": ["flv"],  # Sorenson's H.263: no browser has it, neither TS nor MP4 carries it
}
_AUDIO = {"aac": ["aac"], "mp3": ["libmp3lame"], "opus": ["libopus", "-ar", "48000"]}
#: As the encoder's metadata says them: FLV's numbers, or a FourCC as one.
_VIDEO_ID = {"h264": 7, "flv1": 2, "hevc": int.from_bytes(b"hvc1", "big"), "vp9": int.from_bytes(b"vp09", "big")}
_AUDIO_ID = {"aac": 10, "mp3": 2, "opus": int.from_bytes(b"Opus", "big")}
#: vpcC of profile 0, level 1, 8 bits, 4:2:0, as ISO BMFF's binding of VP9 has it; Matroska has none.
_VPCC = bytes.fromhex("01000000 000a8202020200 00")
_FRAME_MS = 40


@functools.lru_cache(maxsize=None)
def _file(video, audio):
    sources, codecs = [], []
    if video:
        sources += ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=2"]
        codecs += ["-c:v", *_VIDEO[video], "-pix_fmt", "yuv420p", "-g", "25", "-b:v", "300k", "-threads", "1"]
    if audio:
        sources += ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=2"]
        codecs += ["-c:a", *_AUDIO[audio], "-ac", "2", "-b:a", "64k"]
    return media.make(f"coded-{video}-{audio}", [*sources, *codecs], "matroska")


def _video(codec, config, key, body, composition):
    """The payload of one frame, or of the decoder's configuration where `key` is None; none for a codec that has no such thing."""
    if codec == "flv1":
        return None if key is None else bytes([0x12 if key else 0x22]) + body
    if codec == "h264":
        return b"\x17\0\0\0\0" + config if key is None else bytes([0x17 if key else 0x27, 1]) + composition + body
    fourcc = {"hevc": "hvc1", "vp9": "vp09"}[codec]
    if key is None:
        return enhanced.video(enhanced.KEY, enhanced.SEQUENCE_START, fourcc, config if codec == "hevc" else _VPCC)
    return enhanced.video(enhanced.KEY if key else enhanced.INTER, enhanced.CODED_FRAMES, fourcc, (composition if codec == "hevc" else b"") + body)


def _audio(codec, config, body):
    if codec == "mp3":
        return None if body is None else b"\x2f" + body
    if codec == "aac":
        return b"\xaf\0" + config if body is None else b"\xaf\1" + body
    if body is None:
        return enhanced.audio(enhanced.SEQUENCE_START, "Opus", config)
    return enhanced.audio(enhanced.CODED_FRAMES, "Opus", body)


class Coded:
    """As lib.live.Content, for LivePublisher: `video` of h264, hevc, vp9, flv1 or None, `audio` of aac, mp3, opus or None."""

    start = 0

    def __init__(self, video, audio):
        self._headers, self._packets = [], []
        with av.open(_file(video, audio)) as container:
            config = {s.type: bytes(s.codec_context.extradata or b"") for s in container.streams}
            for packet in container.demux():
                if packet.size and packet.pts is not None:
                    self._packets.append(self._tag(packet, video, audio))
        about = {"encoder": "test"}
        if video:
            about.update(width=320, height=180, videocodecid=_VIDEO_ID[video])
        if audio:
            about.update(audiocodecid=_AUDIO_ID[audio])
        self._headers.append(flv.Tag(wire.DATA, 0, amf0.encode("onMetaData", amf0.Ecma(**about))))
        if video:
            self._headers.append(flv.Tag(wire.VIDEO, 0, _video(video, config["video"], None, b"", b"")))
        if audio:
            self._headers.append(flv.Tag(wire.AUDIO, 0, _audio(audio, config["audio"], None)))
        self._headers = [tag for tag in self._headers if tag.payload is not None]
        first = min(tag.timestamp for tag in self._packets)
        self._packets = sorted((tag._replace(timestamp=tag.timestamp - first) for tag in self._packets), key=lambda tag: tag.timestamp)

    @staticmethod
    def _tag(packet, video, audio):
        pts = round(packet.pts * packet.time_base * 1000)
        dts = pts if packet.dts is None else round(packet.dts * packet.time_base * 1000)
        if packet.stream.type == "audio":
            return flv.Tag(wire.AUDIO, pts, _audio(audio, b"", bytes(packet)))
        composition = (pts - dts).to_bytes(3, "big", signed=True)
        return flv.Tag(wire.VIDEO, dts, _video(video, b"", packet.is_keyframe, bytes(packet), composition))

    def headers(self):
        return self._headers

    def __iter__(self):
        """The clip again and again, its time going on."""
        base = 0
        while True:
            for tag in self._packets:
                yield tag._replace(timestamp=base + tag.timestamp)
            base += self._packets[-1].timestamp + _FRAME_MS
