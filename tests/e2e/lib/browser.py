"""The player page in a real browser: calls tests/web/play.mjs (needs node, chromium and `scripts/build-web.sh --packages`)."""
import json
import os
import subprocess

SCRIPT = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "web/play.mjs")
PAGE_TIMEOUT = 60  # to start the browser and to load the page, on a busy machine


def play(http, stream, protocol="auto", *, until="playing", wait=60, seconds=0, **options):
    """Plays `stream` in the page of the HTTP server at `http` (host:port). Returns the report of play.mjs as a dict; `options` are its
    further flags (screenshot="x.png", width=390, scheme="dark")."""
    url = f"http://{http}/?stream={stream}&protocol={protocol}&autoplay=1&muted=1"
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(["node", SCRIPT, "--url", url, "--until", until, "--wait", str(wait), "--seconds", str(seconds), *flags],
                          capture_output=True, text=True, timeout=2 * PAGE_TIMEOUT + wait + seconds, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rtc(proxy, stream, *, wait=60, **options):
    """WHIP and WHEP through a proxy's API, from a page of its HTTP port, which is another site (tests/web/rtc.mjs); its report. `options`: its
    further flags; play=True is `--play`."""
    flags = []
    for name, value in options.items():
        flags += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    done = subprocess.run(["node", os.path.join(os.path.dirname(SCRIPT), "rtc.mjs"), "--api", f"http://{proxy.http_api}", "--page",
                           f"http://{proxy.http}/api/v1/versions", "--stream", stream, "--wait", str(wait), *flags], capture_output=True, text=True, timeout=2 * PAGE_TIMEOUT + wait, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
