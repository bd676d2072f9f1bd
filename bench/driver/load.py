"""Runs rtmp_load and http_load."""

import os
import subprocess

from .servers import Lines


# Modes of http_load, and how the URL of a stream ends there; the others are rtmp_load's.
HTTP_MODES = {"flv": ".flv", "ts": ".ts", "hls": ".m3u8"}


class Load:
    """One rtmp_load or http_load process. Its counters are cumulative; `mark` returns them as they are now."""

    def __init__(self, build, mode, server, *options, name="s%d"):
        if mode in HTTP_MODES:
            program, url = "http_load", f"http://{server.http}/live/{name}{HTTP_MODES[mode]}"
        else:
            program, url = "rtmp_load", f"rtmp://{server.rtmp}/live/{name}"
        argv = [os.path.join(build, "bench", program), mode, url, *map(str, options)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lines = Lines(self.process.stdout.fileno())

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def _event(self, wanted, seconds):
        while True:
            line = self.lines.next(seconds)
            if line["event"] == wanted:
                return line

    def ready(self, seconds=40):
        """Waits until every client is up; a client that failed makes the case worthless."""
        line = self._event("ready", seconds)
        if line["up"] < line["connections"]:
            raise RuntimeError(f"only {line['up']} of {line['connections']} clients came up: {line}")
        return line

    def _say(self, word):
        self.process.stdin.write(word.encode() + b"\n")
        self.process.stdin.flush()

    def mark(self):
        self._say("mark")
        line = self._event("mark", 20)
        return line

    def reset(self):
        self._say("reset")

    def final(self, seconds):
        return self._event("final", seconds)
