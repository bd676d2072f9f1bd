"""An origin as a proxy knows it, with an SRT listener."""
from . import srt
from .fake_origin import FakeOrigin
from .sluice import register, registration


class Stock:
    """An origin of others: RTMP that answers probes, and an SRT listener; registered until its lease runs out, or it is gone."""

    def __init__(self, proxy, server="o1", host="127.0.0.1", passphrase=None, srt_at=None, **options):
        self.rtmp = FakeOrigin()
        self.srt = srt.Origin(host, passphrase, **options) if srt_at is None else None
        self.proxy, self.server = proxy, server
        answer = register(proxy.api, registration(self.rtmp.port, server, srt=[srt_at or self.srt.endpoint]))
        assert answer.status_code == 200, answer.text
        proxy.await_event("origin_added", origin=lambda o: o.startswith(server + "-"))

    def die(self):
        self.rtmp.close()
        if self.srt:
            self.srt.close()

    close = die
