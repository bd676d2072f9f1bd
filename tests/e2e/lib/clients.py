"""Publisher and player: a Connection that has got as far as media flowing."""
import threading
import time

from . import flv, rtmp_wire as wire
from .rtmp import Connection

_CSID = {wire.AUDIO: 4, wire.VIDEO: 6, wire.DATA: 5}


class Publisher(Connection):
    """Publishes `app/name`. Send tags one by one, in one go, or paced as they were recorded."""

    def __init__(self, address, app, name, tc_url=None, connect=None, kind="live", **options):
        super().__init__(address, **options)
        self._pacer = None
        self._halt = threading.Event()
        try:
            self.connect(app, tc_url, **(connect or {}))
            self.set_chunk_size(4096)
            self.stream = self.publish(name, kind)
        except BaseException:
            self.close()
            raise
        self.sent = []
        self.background()

    def put(self, tag, shift=0):
        """One FLV tag or (type, timestamp, payload), as a message."""
        kind, timestamp, payload = tag
        payload = set_data_frame(payload) if kind == wire.DATA else payload
        self.send(kind, payload, timestamp + shift, self.stream, _CSID.get(kind, 7))
        self.sent.append(flv.Tag(kind, timestamp + shift, tag[2]))

    def put_all(self, tags, shift=0):
        for tag in tags:
            self.put(tag, shift)
        return self

    def pace(self, tags, speed=1.0, shift=0, loops=1):
        """Sends at the pace of the timestamps, on a thread of its own; timestamps go on from loop to loop."""
        length = tags[-1].timestamp + 40

        def work():
            begin = time.monotonic()
            for loop in range(loops):
                for tag in tags:
                    due = begin + (loop * length + tag.timestamp) / 1000 / speed
                    if self._halt.wait(max(0.0, due - time.monotonic())):
                        return
                    try:
                        self.put(tag, shift + loop * length)
                    except OSError:
                        return
        self._pacer = threading.Thread(target=work, daemon=True)
        self._pacer.start()
        return self

    def await_sent(self, timeout=60.0):
        """Waits for `pace` to end."""
        self._pacer.join(timeout)
        assert not self._pacer.is_alive(), "the publisher did not come to its end"

    def halt(self):
        """Stops pacing; the connection stays, silent."""
        self._halt.set()
        if self._pacer is not None and self._pacer is not threading.current_thread():
            self._pacer.join()
        self._halt.clear()

    def unpublish(self, name):
        """As ffmpeg ends: FCUnpublish and deleteStream."""
        self.command("FCUnpublish", 6, None, name)
        self.command("deleteStream", 7, None, self.stream)

    def close(self):
        self._halt.set()  # and not cleared: the pacer is not to begin a next message
        if self._pacer is not None and self._pacer is not threading.current_thread():
            self._pacer.join(1)  # it may be held up in a send to somebody who does not read
        super().close()


class Player(Connection):
    """Plays `app/name` and records in the background. `wait=False` returns before the server agreed."""

    def __init__(self, address, app, name, tc_url=None, connect=None, wait=True, start=-2, timeout=None, **options):
        super().__init__(address, **options)
        try:
            self.connect(app, tc_url, **(connect or {}))
            self.stream = self.play(name, start, timeout) if wait else self.start_play(name, start)
        except BaseException:
            self.close()
            raise
        self.background()


def set_data_frame(payload):
    """onMetaData as publishers send it: with "@setDataFrame" before it."""
    marker = b"\x02\x00\x0d@setDataFrame"
    return payload if payload.startswith(marker) else marker + payload
