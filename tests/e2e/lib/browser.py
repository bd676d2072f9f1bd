"""The player page in a real browser: calls tests/web/play.mjs (needs node, chromium and `scripts/build-web.sh --packages`)."""
import json
import os
import subprocess
import threading

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


class Browser:
    """One Chromium for several checks, driven line by line (tests/web/drive.mjs says what the commands mean)."""

    def __init__(self):
        self._child = subprocess.Popen(["node", os.path.join(os.path.dirname(SCRIPT), "drive.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.errors = []  # of the page that is open

    def ask(self, do, timeout=PAGE_TIMEOUT, **arguments):
        deadline = threading.Timer(timeout + PAGE_TIMEOUT, self._child.kill)
        deadline.start()
        try:
            print(json.dumps({"do": do, **arguments}), file=self._child.stdin, flush=True)
            line = self._child.stdout.readline()
        finally:
            deadline.cancel()
        assert line, f"the browser's driver ended at {do} {arguments}"
        answer = json.loads(line)
        assert "failed" not in answer, f"{do} {arguments}: {answer['failed']}"
        self.errors = answer["errors"]
        return answer

    def open(self, http, query="", **window):
        """The page of `http` (host:port), in a window of `width`, `height`, `scheme` (light, dark), `touch`."""
        self.ask("open", url=f"http://{http}/{query}", **window)

    def play(self, http, stream, protocol="auto", **window):
        """The page, which begins to play at once, without sound."""
        self.open(http, f"?stream={stream}&protocol={protocol}&autoplay=1&muted=1", **window)

    def eval(self, js):
        return self.ask("eval", js=js).get("value")  # what is undefined is left out

    def wait(self, js, timeout=60):
        """Until the expression is truthy; its value."""
        answer = self.ask("await", timeout, js=js, ms=timeout * 1000)
        assert answer["ok"], f"{js} is {answer.get('value')} after {timeout} s; the player: {self.state}, errors: {self.errors}"
        return answer["value"]

    @property
    def state(self):
        return self.eval("window.__sluice?.state")

    def await_phase(self, *phases):
        self.wait(f"{json.dumps(phases)}.includes(window.__sluice?.state.phase)")
        return self.state

    def press(self, *keys):
        self.ask("press", keys=keys)

    def close(self):
        self._child.stdin.close()
        try:
            self._child.wait(PAGE_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


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
