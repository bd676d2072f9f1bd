"""The program under test: its roles as processes, and what they say of themselves."""
import os
import re

import requests

from . import media, net
from .process import Process, children_of, command_line
from .waiting import PATIENCE

BINARY = os.environ.get("SLUICE_BIN") or os.path.join(media.ROOT, "build", "release", "sluice")

def _is_sanitized():
    try:
        with open(BINARY, "rb") as file:
            return b"__asan_init" in file.read()
    except OSError:
        return False


#: Bounds of memory are for the release build; AddressSanitizer's red zones and quarantine take their share.
MEMORY_FACTOR = 4 if _is_sanitized() else 1

#: Of a proxy whose origins are threads of the test, or whose test is not about silence: on a busy machine anybody may be held up for
#: some seconds. An origin that is gone is still found at once, by what the kernel says.
UNHURRIED = {"origin_suspect_after": "10s", "origin_dead_after": "20s"}

#: Every port of a proxy, chosen by the kernel.
ANY_PORTS = ["--rtmp-server", "127.0.0.1:0", "--http-server", "127.0.0.1:0", "--http-api", "127.0.0.1:0",
             "--webrtc-server", "127.0.0.1:0", "--srt-server", "127.0.0.1:0", "--system-api", "127.0.0.1:0"]


def ports(**fixed):
    """The same, but for those that are given: ports(srt_server="[::]:0")."""
    out = list(ANY_PORTS)
    for name, value in fixed.items():
        out[out.index("--" + name.replace("_", "-")) + 1] = value
    return out


def flags(options):
    """{"play_wait": "1s"} → ["--play-wait", "1s"]."""
    out = []
    for name, value in options.items():
        out += ["--" + name.replace("_", "-"), str(value)]
    return out


def get(address, path, timeout=PATIENCE, **options):
    return requests.get(f"http://{address}{path}", timeout=timeout, **options)


def metrics(api):
    """The parsed /metrics of a server."""
    answer = get(api, "/metrics")
    assert answer.status_code == 200, answer.text
    return Metrics(answer.text)


class Metrics:
    """Prometheus text format 0.0.4, parsed strictly: a line that does not fit is an error."""

    _SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(.*)\})? (-?(?:[0-9.]+(?:[eE][+-]?[0-9]+)?|Inf)|NaN)$')
    _LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')

    def __init__(self, text):
        self.types, self.samples = {}, []
        assert text.endswith("\n"), "the last line has no line feed"
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ", 3)
                assert kind in ("counter", "gauge", "histogram", "summary", "untyped"), line
                assert name not in self.types, f"{name} is declared twice"
                self.types[name] = kind
            elif line and not line.startswith("#"):
                self.samples.append(self._sample(line))
        seen = [(name, tuple(sorted(labels.items()))) for name, labels, _ in self.samples]
        assert len(seen) == len(set(seen)), "a sample appears twice"

    def _sample(self, line):
        match = self._SAMPLE.match(line)
        assert match, f"no Prometheus sample: {line!r}"
        labels, rest = {}, match.group(3) or ""
        while rest:
            label = self._LABEL.match(rest)
            assert label, f"bad labels: {line!r}"
            labels[label.group(1)] = label.group(2)
            rest = rest[label.end():]
        return match.group(1), labels, float(match.group(4))

    def total(self, name, **labels):
        """Sum of the samples of that name that carry all `labels` (a tuple: any of them)."""
        def fits(have):
            return all(have.get(k) in v if isinstance(v, tuple) else have.get(k) == v for k, v in labels.items())
        return sum(value for n, have, value in self.samples if n == name and fits(have))

    def named(self, name):
        return [(labels, value) for n, labels, value in self.samples if n == name]


class Server(Process):
    """`sluice proxy` or `sluice origin`."""

    def __init__(self, role, arguments, cwd, env=None, setup=None, name=None):
        super().__init__([BINARY, role, *arguments, "--log-format", "json"], name or role, env=env, cwd=cwd, setup=setup)
        self.role = role

    def ready(self, timeout=20.0):
        """Waits for the ready line; self. Its addresses are attributes from then on."""
        event = self.await_event("ready", timeout)
        self.rtmp = event["rtmp"]
        self.http = event["http"]
        self.api = event.get("system_api") or event.get("api")
        self.http_api = event.get("http_api")
        self.ready_event = event
        return self

    def metrics(self):
        return metrics(self.api)


class Cluster(Process):
    """`sluice run`: a supervisor with a proxy and origins as children; their log lines all arrive here."""

    def __init__(self, cwd, origins=2, env=None, ports=None, setup=None, origin=None, **options):
        """`origin`: settings of the origins, as SLUICE_ORIGIN_* variables hand them on; other keywords are the proxy's flags."""
        env = {**{f"SLUICE_ORIGIN_{k.upper()}": str(v) for k, v in (origin or {}).items()}, **(env or {})}
        arguments = [BINARY, "run", "--origins", origins, *(ports or ANY_PORTS), *flags(options), "--log-format", "json"]
        super().__init__(arguments, "run", env=env, cwd=cwd, setup=setup)
        self.origin_count = origins

    def ready(self, timeout=20.0):
        event = self.await_event("ready", timeout, role="proxy")
        self.rtmp, self.http = event["rtmp"], event["http"]
        self.api, self.http_api = event["system_api"], event.get("http_api")
        self.origin_events = self.await_event("ready", timeout, role="origin", count=self.origin_count)
        if self.origin_count == 1:
            self.origin_events = [self.origin_events]
        self.await_line("Ctrl-C stops everything")  # the supervisor has heard of it as well
        return self

    def children(self, role):
        """Process ids of the children that run as `role` now."""
        return [pid for pid in children_of(self.pid) if command_line(pid)[1:2] == [role]]

    def metrics(self):
        return metrics(self.api)


def alive_origins(api):
    return metrics(api).total("sluice_origins", state="alive")


def cluster_state(api, token=None):
    """GET /api/v1/sluice/cluster; "origins" and "streams" keyed by server id and by name."""
    answer = get(api, "/api/v1/sluice/cluster?count=10000", headers={"Authorization": f"Bearer {token}"} if token else {})
    assert answer.status_code == 200, answer.text
    state = answer.json()
    state["origins"] = {o["server"]: o for o in state["origins"]}
    state["streams"] = {s["name"]: s for s in state["streams"]}
    return state


def drain(api, server_id, on=True):
    """POST or DELETE of an origin's drain; the answer."""
    call = requests.post if on else requests.delete
    return call(f"http://{api}/api/v1/sluice/origins/{server_id}/drain", timeout=10)


def registration(port, server="o1", ip=net.LOOPBACK, service="s1", pid="1", **more):
    """The body of a register call, as a stock origin sends it."""
    body = {"device_id": server, "ip": ip, "server": server, "service": service, "pid": pid, "rtmp": [str(port)]}
    body.update(more)
    return {k: v for k, v in body.items() if v is not None}


def register(api, body, token=None, raw=None, headers=None):
    """POST to the register call; the response."""
    head = dict(headers or {})
    if token:
        head["Authorization"] = f"Bearer {token}"
    url = f"http://{api}/api/v1/srs/register"
    if raw is not None:
        return requests.post(url, data=raw, headers={"Content-Type": "application/json", **head}, timeout=10)
    return requests.post(url, json=body, headers=head, timeout=10)
