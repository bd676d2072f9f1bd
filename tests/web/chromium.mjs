// What the scripts of this folder share: Debian's Chromium, a page of it, and what can be told of a picture.
import {chromium} from 'playwright-core';

export const defaultBrowser = '/usr/bin/chromium';

export function launch(executablePath = defaultBrowser) {
  return chromium.launch({
    timeout: 60_000,
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--autoplay-policy=document-user-activation-required'],
  });
}

/** A page in a context (storage, cache) of its own. `errors` fills with what it throws or logs as an error. `before` is a script that runs before its own. */
export async function newPage(browser, {width = 1280, height = 800, scheme = 'light', touch = false, before = ''} = {}) {
  const context = await browser.newContext({
    viewport: {width: Number(width), height: Number(height)},
    colorScheme: scheme,
    hasTouch: touch,
    isMobile: touch,
  });
  if (before) await context.addInitScript(before);
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (e) => errors.push(String(e)));
  // A media request that fails is the player's business, which says so itself.
  page.on('console', (m) => m.type() === 'error' && !m.text().startsWith('Failed to load resource') && errors.push(m.text()));
  return {page, errors};
}

/** In the page: the mean brightness (0 … 255) of the frame that a video shows, -1 if it cannot be read. */
export function lightOf(video) {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 32;
  const context = canvas.getContext('2d');
  try {
    context.drawImage(video, 0, 0, 32, 32);
    const {data} = context.getImageData(0, 0, 32, 32);
    let sum = 0;
    for (let i = 0; i < data.length; i += 4) sum += data[i] + data[i + 1] + data[i + 2];
    return Math.round(sum / (32 * 32 * 3));
  } catch {
    return -1;
  }
}
