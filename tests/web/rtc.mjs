#!/usr/bin/env node
// WebRTC in Debian's Chromium: publishes a moving canvas by WHIP, and plays the same stream by WHEP, both through the API of a proxy:
//   node tests/web/rtc.mjs --api http://HOST:PORT --page http://HOST:PORT/ --app live --stream s --frames 50 --wait 60
// The page, of any text, is the site that the requests come from: one on this host, as browsers let no other reach loopback addresses.
// Waits until --frames were decoded (or --wait seconds are over), ends both sessions by DELETE, and reports as one JSON object:
//   published   {status, location, state, framesSent}
//   played      {status, location, state, framesDecoded, width, height}
//   deleted     the status of each DELETE
//   errors      what the page threw
// --play only plays, --publish only publishes (until --frames were sent). --browser FILE (/usr/bin/chromium).
import {parseArgs} from 'node:util';
import {chromium} from 'playwright-core';

const {values: asked} = parseArgs({
  options: {
    api: {type: 'string'},
    page: {type: 'string'},
    app: {type: 'string', default: 'live'},
    stream: {type: 'string', default: 's'},
    frames: {type: 'string', default: '50'},
    wait: {type: 'string', default: '60'},
    play: {type: 'boolean', default: false},
    publish: {type: 'boolean', default: false},
    browser: {type: 'string', default: '/usr/bin/chromium'},
  },
});
if (!asked.api || !asked.page) {
  console.error('rtc.mjs: --api or --page is missing');
  process.exit(2);
}

/** In the page. One side of a session, begun as RFC 9725 says. */
async function begin({url, publish}) {
  const pc = new RTCPeerConnection();
  const side = {pc, publish, location: null, status: 0};
  (window.sides ??= []).push(side);
  if (publish) {
    const canvas = document.createElement('canvas');
    canvas.width = 160;
    canvas.height = 120;
    const context = canvas.getContext('2d');
    let n = 0;
    setInterval(() => {
      context.fillStyle = `hsl(${(n += 7) % 360} 80% 50%)`;
      context.fillRect(0, 0, 160, 120);
    }, 66);
    const [track] = canvas.captureStream(15).getVideoTracks();
    pc.addTransceiver(track, {direction: 'sendonly'});
  } else {
    pc.addTransceiver('video', {direction: 'recvonly'});
    pc.ontrack = ({track}) => {
      const video = document.createElement('video');
      video.muted = video.autoplay = true;
      video.srcObject = new MediaStream([track]);
      document.body.append(video);
    };
  }
  await pc.setLocalDescription();
  const answer = await fetch(url, {method: 'POST', body: pc.localDescription.sdp, headers: {'Content-Type': 'application/sdp'}});
  side.status = answer.status;
  if (answer.status !== 201) return {status: answer.status};
  side.location = new URL(answer.headers.get('Location'), url).href;
  await pc.setRemoteDescription({type: 'answer', sdp: await answer.text()});
  return {status: answer.status};
}

/** In the page: how the sides are. */
async function look() {
  const out = {};
  for (const {pc, publish, location, status} of window.sides ?? []) {
    const seen = {status, location, state: pc.connectionState};
    for (const s of (await pc.getStats()).values()) {
      if (s.type === 'outbound-rtp') seen.framesSent = s.framesSent;
      if (s.type === 'inbound-rtp') Object.assign(seen, {framesDecoded: s.framesDecoded, width: s.frameWidth, height: s.frameHeight});
    }
    out[publish ? 'published' : 'played'] = seen;
  }
  return out;
}

async function end() {
  return Promise.all((window.sides ?? []).filter((s) => s.location).map(async (s) => (await fetch(s.location, {method: 'DELETE'})).status));
}

async function main() {
  const browser = await chromium.launch({executablePath: asked.browser, timeout: 60_000, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage']});
  try {
    const page = await (await browser.newContext()).newPage();
    const errors = [];
    page.on('pageerror', (e) => errors.push(String(e)));
    await page.goto(asked.page, {timeout: 60_000});
    const call = (kind) => `${asked.api}/rtc/v1/${kind}/?app=${asked.app}&stream=${asked.stream}`;
    if (!asked.play) await page.evaluate(begin, {url: call('whip'), publish: true});
    if (!asked.publish) await page.evaluate(begin, {url: call('whep'), publish: false});
    const until = Date.now() + Number(asked.wait) * 1000;
    let seen = await page.evaluate(look);
    const enough = () => ((asked.publish ? seen.published?.framesSent : seen.played?.framesDecoded) ?? 0) >= Number(asked.frames);
    while (!enough() && Date.now() < until) {
      await page.waitForTimeout(100);
      seen = await page.evaluate(look);
    }
    const deleted = await page.evaluate(end);
    console.log(JSON.stringify({...seen, deleted, errors}));
  } finally {
    await browser.close();
  }
}

main().catch((e) => {
  console.error(`rtc.mjs: ${e.message}`);
  process.exit(1);
});
