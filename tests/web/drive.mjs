#!/usr/bin/env node
// Debian's Chromium by remote control, for several checks with one browser: reads a JSON object a line on standard input, and answers each with one.
//   {"do": "open", "url", "width", "height", "scheme", "touch", "before"}   a new page with storage of its own; the one before is closed
//                                    (`before`: a script that runs before the page's own)
//   {"do": "view", "width", "height", "scheme"}                   the same page in another window
//   {"do": "await", "js", "ms"}      until the expression is truthy: {"ok", "value"}; after that time {"ok": false} and the value of that moment
//   {"do": "eval", "js"}             {"value"}
//   {"do": "press", "keys": [...]}   as Playwright names them: "k", "Tab", "Space"
//   {"do": "click", "at": SELECTOR}
//   {"do": "light"}                  {"value"}: the mean brightness of the frame that is shown, -1 if it cannot be read
//   {"do": "faults"}                 {"value": [sentences]}: of layout and contrast (look.mjs)
//   {"do": "screenshot", "path"}     of the whole page
// Each answer also has `errors`: what the page threw or logged as an error since it was opened. A command that cannot be done is answered by {"failed": why}.
// Ends with its input. --browser FILE (/usr/bin/chromium).
import {createInterface} from 'node:readline';
import {parseArgs} from 'node:util';
import {defaultBrowser, launch, lightOf, newPage} from './chromium.mjs';
import {contrastFaults, layoutFaults} from './look.mjs';

const {values: asked} = parseArgs({options: {browser: {type: 'string', default: defaultBrowser}}});
const browser = await launch(asked.browser);
let page;
let errors = [];

const commands = {
  async open({url, ...window}) {
    await page?.context().close();
    ({page, errors} = await newPage(browser, window));
    await page.goto(url, {waitUntil: 'load', timeout: 60_000});
  },
  async view({width, height, scheme}) {
    await page.setViewportSize({width, height});
    await page.emulateMedia({colorScheme: scheme});
  },
  async await({js, ms}) {
    // Not by page.waitForFunction(), which evaluates text within the page, where its policy forbids it.
    const end = Date.now() + ms;
    let value;
    while (!(value = await page.evaluate(js)) && Date.now() < end) await page.waitForTimeout(50);
    return {ok: !!value, value};
  },
  eval: async ({js}) => ({value: await page.evaluate(js)}),
  async press({keys}) {
    for (const key of keys) await page.keyboard.press(key);
  },
  click: ({at}) => page.click(at, {timeout: 20_000}),
  light: async () => ({value: await page.$eval('video', lightOf)}),
  faults: async () => ({value: [...(await page.evaluate(layoutFaults)), ...(await page.evaluate(contrastFaults))]}),
  screenshot: ({path}) => page.screenshot({path, fullPage: true}),
};

for await (const line of createInterface({input: process.stdin})) {
  const command = JSON.parse(line);
  const answer = await commands[command.do](command).catch((e) => ({failed: e.message}));
  console.log(JSON.stringify({...answer, errors}));
}
await browser.close();
