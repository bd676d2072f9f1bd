"""Test media, made once by ffmpeg and kept in build/test-media: the same bytes for every run on a machine."""
import functools
import hashlib
import os
import random
import subprocess

from . import flv

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
CACHE = os.path.join(ROOT, "build", "test-media")


def make(name, arguments, form="flv"):
    """`arguments` of ffmpeg → a cached file of that format, put into place whole, so that two runs may race."""
    key = hashlib.sha1(repr(arguments).encode()).hexdigest()[:8]
    path = os.path.join(CACHE, f"{name}-{key}.{form}")
    if not os.path.exists(path):
        os.makedirs(CACHE, exist_ok=True)
        part = f"{path}.{os.getpid()}.part"
        subprocess.run(["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *arguments, "-f", form, part], check=True)
        try:
            os.link(part, path)
        except FileExistsError:
            pass  # another run was first, and may have read its own: encoders do not make the same bytes twice
        os.unlink(part)
    return path


@functools.lru_cache(maxsize=None)
def clip(seconds=3, video_kbps=200, gop_seconds=1.0, rate=25, size="320x180", tone=440):
    """An H.264 + AAC FLV. Different `tone`s make different bytes, so that streams cannot be mistaken for each other."""
    gop = round(rate * gop_seconds)
    return make(f"h264-aac-{seconds}s-{gop_seconds:g}s-{tone}", [
        "-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}",
        "-f", "lavfi", "-i", f"sine=frequency={tone}:sample_rate=44100:duration={seconds}",
        "-vf", f"hue=h={tone % 360}", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p",
        "-b:v", f"{video_kbps}k", "-maxrate", f"{video_kbps}k", "-bufsize", f"{video_kbps}k",
        "-g", str(gop), "-keyint_min", str(gop), "-sc_threshold", "0", "-c:a", "aac", "-b:a", "64k", "-ac", "2"])


@functools.lru_cache(maxsize=None)
def tags(path):
    return tuple(flv.read(path))


@functools.lru_cache(maxsize=None)
def as_ffmpeg_publishes(path):
    """The tags that `ffmpeg -i path -c copy -f flv rtmp://…` sends: the same muxer, writing a file."""
    return tags(make("remux-" + os.path.basename(path)[:-4], ["-i", path, "-c", "copy", "-flvflags", "no_duration_filesize"]))


def heavy(frames=100, gop=25, frame_bytes=20000, start=0, rate=25):
    """H.264-shaped tags of any weight, without an encoder: sequence header, then frames of noise; each frame is unlike all others."""
    sps, pps = bytes.fromhex("6742c01ed900a047fe88010000030001000003003c0f162e48"), bytes.fromhex("68cb8cb2")
    config = (bytes.fromhex("1700000000 0142c01e ffe1") + len(sps).to_bytes(2, "big") + sps + b"\1" + len(pps).to_bytes(2, "big") + pps)
    out = [flv.Tag(flv.VIDEO, start, config)]
    for n in range(frames):
        at = start + n * 1000 // rate
        head = bytes([0x17 if n % gop == 0 else 0x27, 1, 0, 0, 0]) + (frame_bytes - 9).to_bytes(4, "big")
        out.append(flv.Tag(flv.VIDEO, at, head + random.Random(start + n).randbytes(frame_bytes - 9)))
    return out
