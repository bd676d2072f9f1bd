"""The player page that the binary carries, in Debian's Chromium."""
import re

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
    cluster = world.run(origins=1)
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
