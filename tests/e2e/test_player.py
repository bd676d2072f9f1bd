"""The player page that the binary carries, in Debian's Chromium."""
import os
import re
import signal
import threading

import pytest
import requests

from lib import browser


def test_page_is_served_compressed_and_kept(world):
    """`/` with its policy; what it names by content is immutable; 304 for who has it; no way out of the pages."""
    base = f"http://{world.run(origins=1).http}"
    page = requests.get(base + "/", timeout=10)
    assert page.status_code == 200 and "Sluice player" in page.text
    assert page.headers["Cache-Control"] == "no-cache"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert requests.get(base + "/", headers={"If-None-Match": page.headers["ETag"]}, timeout=10).status_code == 304
    scripts = re.findall(r"\./(assets/[^\"]+\.js)", page.text)
    assert scripts
    script = requests.get(f"{base}/{scripts[0]}", timeout=10)
    assert script.headers["Content-Encoding"] == "gzip" and "immutable" in script.headers["Cache-Control"]
    assert "__sluice" in script.text


def test_page_says_that_nobody_publishes(world):
    """No picture, but words; and it goes on trying."""
    cluster = world.run(origins=1, play_wait="1s")
    seen = browser.play(cluster.http, "live/nobody", until="waiting")
    assert seen["ok"], seen
    assert seen["state"]["problem"]["title"] == "Nobody is publishing live/nobody right now"
    assert seen["errors"] == []


def test_demo_is_published_through_the_proxy(world):
    """`run --demo`: ffmpeg publishes live/demo, and the welcome has the URL at which to see it."""
    cluster = world.run(origins=1, demo="on")
    start = cluster.await_event("session_start", role="proxy", kind="publish")
    assert start["stream"].endswith("live/demo")
    cluster.await_line(rf"http://{cluster.http}/\?stream=live/demo")


@pytest.mark.parametrize("protocol", ["flv", "ts", "hls"])
def test_page_plays_over_the_death_of_the_origin(world, protocol):
    """The picture moves on after a SIGKILL of the stream's owner, over the same connection; nobody has to reload."""
    cluster = world.run(origins=2, demo="on")
    start = cluster.await_event("session_start", role="origin", kind="publish")
    killed, over = [], threading.Event()

    def kill_once_it_plays():
        if over.is_set():
            return
        if cluster.find("session_start", proto=f"http-{protocol}") or (protocol == "hls" and cluster.find("hls_start")):
            os.kill(start["pid"], signal.SIGKILL)
            killed.append(cluster.await_event("failed_over"))
            return
        timer()

    def timer():
        later = threading.Timer(1, kill_once_it_plays)
        later.daemon = True
        later.start()

    timer()
    try:
        seen = browser.play(cluster.http, "live/demo", protocol, wait=90, seconds=20)
    finally:
        over.set()
    assert seen["ok"] and killed, seen
    assert seen["errors"] == [] and seen["state"]["stats"]["reconnects"] == 0, seen
    # However busy the machine: media went by while it was watched, and went on to the end.
    assert seen["advanced"] > 5, seen
    assert seen["samples"][-1]["currentTime"] > seen["samples"][len(seen["samples"]) // 2]["currentTime"], seen
    assert seen["video"]["width"] == 640 and seen["video"]["light"] > 10, seen
