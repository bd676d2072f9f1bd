#!/usr/bin/env node
// Opens the player page in Debian's Chromium, lets it play, and reports what happened as one JSON object on standard output:
//   node tests/web/play.mjs --url 'http://HOST:PORT/?stream=live/x&protocol=flv&autoplay=1&muted=1' --seconds 5 [--screenshot FILE]
// It waits up to --wait seconds (30) for the phase --until (playing), and then watches for --seconds (0). What is reported:
//   ok           the phase was reached
//   state        window.__sluice.state at the end: phase, problem, stats
//   samples      [{at, currentTime, phase}] twice a second while it watched
//   advanced     seconds of media that went by while it watched
//   video        {width, height, light}: the picture's size, and the mean brightness of its last frame (0 … 255), -1 if it cannot be read
//   errors       what the page threw or logged as an error, and requests that its policy forbade
// Further: --width 1280 --height 800 --scheme light|dark --touch, --press KEYS (k,m,/ …: pressed one after the other once the phase is reached),
// --browser FILE (/usr/bin/chromium). Exit code: 0 when it ran, whatever it saw; 1 when the browser or the page could not be opened.
import {parseArgs} from 'node:util';
import {defaultBrowser, launch, lightOf, newPage} from './chromium.mjs';

const {values: asked} = parseArgs({
  options: {
    url: {type: 'string'},
    seconds: {type: 'string', default: '0'},
    wait: {type: 'string', default: '30'},
    until: {type: 'string', default: 'playing'},
    screenshot: {type: 'string'},
    width: {type: 'string', default: '1280'},
    height: {type: 'string', default: '800'},
    scheme: {type: 'string', default: 'light'},
    touch: {type: 'boolean', default: false},
    press: {type: 'string', default: ''},
    browser: {type: 'string', default: defaultBrowser},
  },
});
if (!asked.url) {
  console.error('play.mjs: --url is missing');
  process.exit(2);
}

async function main() {
  const browser = await launch(asked.browser);
  try {
    const {page, errors} = await newPage(browser, asked);
    await page.goto(asked.url, {waitUntil: 'load', timeout: 60_000});

    const read = () =>
      page.evaluate(() => ({
        at: performance.now() / 1000,
        currentTime: document.querySelector('video').currentTime,
        phase: window.__sluice.state.phase,
      }));
    const ok = await page
      .waitForFunction((phase) => window.__sluice?.state.phase === phase, asked.until, {timeout: Number(asked.wait) * 1000, polling: 100})
      .then(() => true, () => false);
    for (const key of asked.press.split(',').filter((k) => k !== '')) await page.keyboard.press(key === 'Space' ? ' ' : key);

    const samples = [];
    if (ok) {
      const end = Date.now() + Number(asked.seconds) * 1000;
      do {
        samples.push(await read());
        await page.waitForTimeout(Math.min(500, Math.max(0, end - Date.now())));
      } while (Date.now() < end);
      samples.push(await read());
    }
    if (asked.screenshot) await page.screenshot({path: asked.screenshot, fullPage: true});
    const state = await page.evaluate(() => window.__sluice?.state);
    const video = {
      ...(await page.evaluate(() => {
        const v = document.querySelector('video');
        return {width: v.videoWidth, height: v.videoHeight};
      })),
      light: await page.$eval('video', lightOf),
    };
    const advanced = samples.length > 1 ? samples.at(-1).currentTime - samples[0].currentTime : 0;
    console.log(JSON.stringify({ok, state, samples, advanced, video, errors, screenshot: asked.screenshot}));
  } finally {
    await browser.close();
  }
}

main().catch((e) => {
  console.error(`play.mjs: ${e.message}`);
  process.exit(1);
});
