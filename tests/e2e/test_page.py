"""The player page as people meet it, in Debian's Chromium: what it plays, what it says when it cannot, by keyboard, from a phone to a desk, light and dark."""
import json

import pytest

from lib.browser import Browser
from lib.coded import Coded
from lib.http_live import HttpOrigin
from lib.live import LivePublisher
from lib.sluice import UNHURRIED

#: Chromium without a GPU may come with a decoder for HEVC or not.
HEVC_DECODES = "MediaSource.isTypeSupported('video/mp4; codecs=\"hvc1.1.6.L93.B0\"')"


@pytest.fixture(scope="module")
def browser():
    made = Browser()
    yield made
    made.close()


@pytest.fixture(scope="module")
def site(shared_world):
    return shared_world.run(origins=1, play_wait="1s", **UNHURRIED)


@pytest.fixture(scope="module")
def publish(shared_world, site):
    """The name of a live stream with these codecs; the same for all tests."""
    names = {}

    def make(video, audio):
        if (video, audio) not in names:
            name = f"{video or 'no'}-{audio or 'no'}"
            shared_world.hold(LivePublisher(site.rtmp, "live", name, Coded(video, audio))).go()
            names[video, audio] = f"live/{name}"
        return names[video, audio]
    return make


def said(browser):
    """All words on the page."""
    return browser.eval("document.body.innerText")


def await_words(browser, words):
    """All words on the page in the moment when these are among them: what is said while it plays comes and goes, as it stalls."""
    return browser.wait(f"[document.body.innerText].find((text) => text.includes({json.dumps(words)}))")


# -- what it plays ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("video, audio, choice, protocol, codecs", [
    ("h264", "aac", "auto", "flv", ("avc1", "mp4a.40.2")),
    ("h264", "mp3", "auto", "flv", ("avc1", "mp3")),
    ("h264", "mp3", "hls", "hls", ("avc1", "mp3")),
    ("vp9", "opus", "auto", "hls", ("vp09", "opus")),  # FLV: not with mpegts.js; TS: sound only
    (None, "aac", "auto", "flv", (None, "mp4a.40.2")),
    (None, "opus", "ts", "ts", (None, "opus")),
    (None, "mp3", "auto", "flv", (None, "mp3")),
])
def test_plays_and_names_the_codecs(browser, site, publish, video, audio, choice, protocol, codecs):
    """By the protocol that carries all of the stream, and each codec in its own row."""
    browser.play(site.http, publish(video, audio), choice)
    browser.wait("window.__sluice.state.phase === 'playing' && window.__sluice.state.stats.audioCodec && document.querySelector('video').currentTime > 0.3")
    state = browser.state
    assert state["protocol"] == protocol and "missing" not in state, state
    for key, wanted in zip(("videoCodec", "audioCodec"), codecs):
        assert (state["stats"].get(key) or "").startswith(wanted or "") and bool(state["stats"].get(key)) == bool(wanted), state["stats"]
    if video:
        assert browser.ask("light")["value"] > 10, state
    else:
        await_words(browser, "This stream is sound only.")
    assert browser.errors == []


def test_says_which_track_the_chosen_protocol_leaves_out(browser, site, publish):
    """MPEG-TS has no VP9: the sound plays, and the page says why there is no picture."""
    browser.play(site.http, publish("vp9", "opus"), "ts")
    words = await_words(browser, f"Playing {publish('vp9', 'opus')} without a picture")
    assert "No picture" in words and "HTTP-TS does not carry the stream's VP9 video. Choose Automatic, or another protocol." in words, words


def test_plays_the_part_that_some_protocol_carries(browser, site, publish):
    """Sorenson's H.263 fits nowhere: Automatic plays the sound, and says what is missing."""
    browser.play(site.http, publish("flv1", "aac"))
    await_words(browser, "does not carry the stream's Sorenson H.263 video.")


# -- what it says ----------------------------------------------------------------------------------------------------------


def test_says_that_there_is_no_such_stream(browser, site):
    browser.play(site.http, "live/nobody")
    browser.await_phase("waiting")
    assert "Nobody is publishing live/nobody right now" in said(browser)


def test_says_that_the_server_is_gone(browser, world):
    """While it plays, and it goes on trying."""
    cluster = world.run(origins=1)
    world.hold(LivePublisher(cluster.rtmp, "live", "s", Coded("h264", "aac"))).go()
    browser.play(cluster.http, "live/s", "flv")
    browser.await_phase("playing")
    cluster.stop()
    browser.wait("window.__sluice.state.problem?.title.startsWith('No connection')")
    words = said(browser)
    assert f"No connection to {cluster.http}" in words and "The network is down, or the server is not running." in words
    assert "Trying again" in words
    assert browser.state["phase"] in ("waiting", "connecting")


@pytest.mark.parametrize("video, choice, title", [
    ("vp9", "ts", "HTTP-TS does not carry VP9"),  # 415
    ("vp9", "flv", "This page cannot play VP9 by HTTP-FLV"),
])
def test_names_a_codec_that_does_not_fit(browser, site, publish, video, choice, title):
    browser.play(site.http, publish(video, None), choice)
    browser.wait(f"window.__sluice.state.phase === 'failed' && document.body.innerText.includes({title!r})")
    state = browser.state
    assert state["problem"]["retry"] is False
    assert "Choose Automatic, or another protocol." in said(browser)


def test_names_a_codec_that_the_browser_lacks(browser, site, publish):
    """HEVC, where Chromium has no decoder: each protocol was tried, and the last word is the codec's name."""
    browser.play(site.http, publish("hevc", "opus"))
    if browser.eval(HEVC_DECODES):
        browser.await_phase("playing")
        return
    browser.wait("window.__sluice.state.phase === 'failed'")
    assert browser.state["protocol"] == "hls"
    assert "This browser cannot decode H.265 (HEVC)" in said(browser)


# -- by keyboard -----------------------------------------------------------------------------------------------------------


def test_every_control_is_reached_by_tab_and_shows_it(browser, site):
    browser.open(site.http, "?stream=live/x")
    seen = []
    while True:
        browser.press("Tab")
        at = browser.eval("""(() => { const e = document.activeElement; if (!e || e === document.body) return null; const s = getComputedStyle(e);
          return {name: e.ariaLabel || e.id || e.textContent.trim(), outline: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2} })()""")
        if at is None or at["name"] in [s["name"] for s in seen[:1]]:
            break
        seen.append(at)
        assert len(seen) < 50, seen
    assert [s["name"] for s in seen] == ["stream", "protocol", "Play", "Play", "Play", "Mute", "Volume", "Full screen"]
    assert all(s["outline"] for s in seen), seen


def test_plays_stops_and_mutes_by_keys(browser, site, publish):
    name = publish("h264", "aac")
    browser.open(site.http, f"?stream={name}&protocol=flv&muted=1")
    browser.press("Tab", "Enter")  # from the stream's field
    browser.await_phase("playing")
    browser.press("Control+a", "k")  # is typed, as the field has the focus
    assert browser.eval("document.querySelector('#stream').value") == "k" and browser.state["phase"] != "idle"
    browser.press("Control+a", *name)
    browser.eval("document.activeElement.blur()")
    browser.press("k")
    assert browser.state["phase"] == "idle"
    browser.press("Space")
    browser.await_phase("playing")
    browser.press("m")
    browser.wait("!window.__sluice.state.muted")
    browser.press("-", "-")
    browser.wait("Math.abs(window.__sluice.state.volume - 0.8) < 0.01")
    browser.press("+")
    browser.wait("Math.abs(window.__sluice.state.volume - 0.9) < 0.01")
    browser.press("m")
    browser.wait("window.__sluice.state.muted")
    browser.eval("document.querySelector('button[aria-label=\"Mute\"]').focus()")
    browser.press("Space")  # of the button, and of nothing else
    browser.wait("!window.__sluice.state.muted")
    assert browser.state["phase"] != "idle"
    assert browser.errors == []


def test_slash_leads_out_of_full_screen_into_the_field(browser, site, publish):
    """What is typed then is text, and stops nothing."""
    browser.play(site.http, publish("h264", "aac"), "flv")
    browser.await_phase("playing")
    browser.press("m", "f")
    browser.wait("document.fullscreenElement !== null")
    browser.press("/")
    browser.wait("document.fullscreenElement === null && document.activeElement.id === 'stream'")
    browser.press("a", "Space", "b")
    assert browser.eval("document.querySelector('#stream').value") == "a b"
    assert browser.state["phase"] != "idle"


# -- how it looks ----------------------------------------------------------------------------------------------------------

#: A browser that lets nothing make a sound by itself.
NO_SOUND = """const play = HTMLMediaElement.prototype.play; HTMLMediaElement.prototype.play = function () {
  return this.muted ? play.call(this) : Promise.reject(new DOMException('no', 'NotAllowedError')); }"""
LONG = "live/a-rather-long-name-of-a-stream-that-somebody-thought-of-0123456789"


def _idle(browser, site, publish):
    browser.open(site.http)
    browser.press("Tab")


def _invalid(browser, site, publish):
    browser.open(site.http, "?stream=x")
    browser.ask("click", at=".primary")
    browser.wait("document.querySelector('#stream-error')")


def _playing(browser, site, publish):
    browser.open(site.http, f"?stream={publish('h264', 'aac')}&protocol=flv&autoplay=1", before=NO_SOUND)
    browser.await_phase("playing")
    browser.wait("document.querySelector('.unmute')")
    browser.wait("window.__sluice.state.stats.audioCodec")


def _waiting(browser, site, publish):
    browser.play(site.http, LONG)
    browser.await_phase("waiting")


def _failed(browser, site, publish):
    browser.play(site.http, publish("vp9", None), "ts")
    browser.wait("window.__sluice.state.problem?.title.endsWith('VP9')")


def _missing(browser, site, publish):
    browser.play(site.http, publish("vp9", "opus"), "ts")
    browser.wait("document.querySelector('.notice strong')")


@pytest.mark.parametrize("state", [_idle, _invalid, _playing, _waiting, _failed, _missing], ids=lambda f: f.__name__[1:])
def test_looks_right_from_a_phone_to_a_desk_light_and_dark(browser, site, publish, state, tmp_path):
    """Nothing to scroll sideways, all controls whole and uncovered, no text cut off, enough contrast (tests/web/look.mjs)."""
    state(browser, site, publish)
    _judge(browser, tmp_path, state.__name__)


def test_looks_right_while_it_connects(browser, site, tmp_path):
    silent = HttpOrigin()
    try:
        silent.answer = lambda handler: handler.await_gone()
        browser.open(site.http, f"?stream=http://127.0.0.1:{silent.port}/{LONG}.flv&autoplay=1&muted=1")
        browser.await_phase("connecting")
        _judge(browser, tmp_path, "connecting")
        browser.open(site.http)
        silent.await_gone()
    finally:
        silent.close()


def _judge(browser, folder, name):
    faults = {}
    for width, height in ((320, 640), (360, 740), (740, 360), (800, 1000), (1280, 800), (1920, 1080)):
        for scheme in ("light", "dark"):
            browser.ask("view", width=width, height=height, scheme=scheme)
            found = browser.ask("faults")["value"]
            if found:
                faults[width, scheme] = found
                browser.ask("screenshot", path=str(folder / f"{name}-{width}-{scheme}.png"))
    assert not faults, f"{faults}; screenshots in {folder}"
