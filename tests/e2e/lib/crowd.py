"""Thousands of publishers or players: bench/rtmp_load, which counts by the numbers in the messages what is lost or comes twice."""
import os
import subprocess
import time

from .media import ROOT
from .process import Process
from .waiting import poll

PROGRAM = os.path.join(ROOT, "build", "release", "bench", "rtmp_load")


class Crowd(Process):
    """`count` connections, spread over `streams` streams named crowd0, crowd1 …"""

    def __init__(self, mode, address, count, streams, *options):
        assert os.path.exists(PROGRAM), f"{PROGRAM} is not there: scripts/build.sh release rtmp_load"
        super().__init__([PROGRAM, mode, f"rtmp://{address}/live/crowd%d", "-n", count, "-m", streams, "-t", 60, *options],
                         f"{mode} crowd", stdin=subprocess.PIPE)

    def await_ready(self, timeout=90):
        """All are there; a client that was not let in is a failure."""
        line = self.await_event("ready", timeout)
        assert line["up"] == line["connections"], f"not all of the {self.name} came up: {line}"
        return line

    def mark(self):
        """The counters as they are now."""
        count = len(self.find("mark"))
        self.say("mark")
        return self.await_event("mark", count=count + 1)[-1] if count else self.await_event("mark")

    def reset(self):
        self.say("reset")

    def await_flowing(self, timeout=60):
        """Waits until everybody has had a message after now; the counters then."""
        begin = time.monotonic()

        def heard():
            asked = time.monotonic()
            line = self.mark()
            return line["quiet_max_ms"] < 1000 * (asked - begin) and line
        return poll(heard, timeout, f"media for all of the {self.name}", every=0.1)
