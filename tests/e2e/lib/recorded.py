"""What ffprobe and ffmpeg make of a file or a URL: packets, and decoded frames."""
import json
import subprocess


def probe(source, *more):
    """(kind, PTS, DTS in 90 kHz, size, hash) of packets, by ffprobe."""
    done = subprocess.run(["ffprobe", "-v", "error", "-show_data_hash", "md5", "-show_entries", "packet=codec_type,pts_time,dts_time,size,data_hash",
                           "-of", "json", *more, source], capture_output=True, check=True, timeout=60)
    assert not done.stderr, done.stderr.decode()
    return [(p["codec_type"], round(float(p["pts_time"]) * 90000), round(float(p["dts_time"]) * 90000), int(p["size"]), p["data_hash"])
            for p in json.loads(done.stdout)["packets"]]


def hashes(path, *arguments):
    """Of frames, in order."""
    done = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", path, *arguments, "-f", "framehash", "-hash", "md5", "-"],
                          capture_output=True, check=True, timeout=60)
    return [line.split(",")[5].strip() for line in done.stdout.decode().splitlines() if not line.startswith("#")]


def is_stretch(part, whole):
    begin = whole.index(part[0])
    return part == whole[begin:begin + len(part)]
