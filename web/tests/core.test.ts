import {describe, expect, it} from 'vitest';
import {Backoff, delayLastMs, giveUpAfterMs} from '../src/core/backoff';
import * as format from '../src/core/format';
import {commandOf} from '../src/core/keys';
import {readLink, writeLink} from '../src/core/link';
import {behindHole, bufferAhead, Rate, Stalls} from '../src/core/meter';
import {explain, explainMissing, type Failure} from '../src/core/problem';
import {addRecent, loadRecent, recentMax, removeRecent, saveRecent, type Recent} from '../src/core/recent';

describe('links', () => {
  it('are read', () => {
    expect(readLink('?stream=live/x&protocol=flv&autoplay=1&muted=1')).toEqual({stream: 'live/x', choice: 'flv', autoplay: true, muted: true});
    expect(readLink('')).toEqual({stream: '', choice: 'auto', autoplay: false, muted: false});
    expect(readLink('?stream=a/b&protocol=rtsp&autoplay=0&muted')).toEqual({stream: 'a/b', choice: 'auto', autoplay: false, muted: true});
  });
  it('are written so that they are read as the same', () => {
    for (const stream of ['live/x', 'live/ü &=#?', 'http://h:1/live/x.flv?a=b&c=d']) {
      const link = {stream, choice: 'ts', autoplay: true, muted: false} as const;
      expect(readLink(writeLink(link))).toEqual(link);
    }
    expect(writeLink({stream: 'live/x', choice: 'auto', autoplay: false, muted: false})).toBe('?stream=live/x');
  });
});

describe('recent streams', () => {
  const entry = (n: number): Recent => ({stream: `live/${n}`, choice: 'auto'});
  it('are few, each once, the last first', () => {
    let list: Recent[] = [];
    for (let n = 0; n < 20; ++n) list = addRecent(list, entry(n));
    list = addRecent(list, {stream: 'live/15', choice: 'hls'});
    expect(list).toHaveLength(recentMax);
    expect(list[0]).toEqual({stream: 'live/15', choice: 'hls'});
    expect(list.filter((e) => e.stream === 'live/15')).toHaveLength(1);
    expect(removeRecent(list, 'live/15').map((e) => e.stream)).not.toContain('live/15');
  });
  it('survive a reload, and a storage that holds nonsense or is forbidden', () => {
    const held = new Map<string, string>();
    const store = {getItem: (k: string) => held.get(k) ?? null, setItem: (k: string, v: string) => void held.set(k, v)};
    saveRecent(store, [entry(1)]);
    expect(loadRecent(store)).toEqual([entry(1)]);
    for (const text of ['', '{', '{}', 'null', '[null,1,{"stream":5},{"stream":"a/b","choice":"rtsp"}]']) {
      held.set('sluice.recent', text);
      expect(loadRecent(store)).toEqual([]);
    }
    const forbidden = () => {
      throw new Error('SecurityError');
    };
    expect(loadRecent({getItem: forbidden, setItem: forbidden})).toEqual([]);
    expect(() => saveRecent({getItem: forbidden, setItem: forbidden}, [])).not.toThrow();
  });
});

describe('problems', () => {
  const of = (failure: Failure) => explain(failure, 'live/x', 'flv', 'h:8080');
  it('are said in words, and retried where that may help', () => {
    expect(of({kind: 'status', status: 404})).toMatchObject({title: 'Nobody is publishing live/x right now', retry: true});
    expect(of({kind: 'status', status: 415})).toMatchObject({retry: false});
    expect(of({kind: 'status', status: 403}).retry).toBe(false);
    expect(of({kind: 'status', status: 503}).retry).toBe(true);
    expect(of({kind: 'status', status: 502}).title).toContain('502');
    expect(of({kind: 'network'})).toMatchObject({title: 'No connection to h:8080', retry: true});
    expect(of({kind: 'ended'}).retry).toBe(true);
    expect(of({kind: 'codec', codecs: ['hvc1.1.6.L93.B0']})).toMatchObject({title: 'This browser cannot decode H.265 (HEVC)', retry: false});
    expect(of({kind: 'codec', codecs: ['vp09.00.10.08', 'opus']}).title).toBe('This browser cannot decode VP9 and Opus');
    expect(of({kind: 'carriage', codecs: ['vp09']}).title).toBe('This page cannot play VP9 by HTTP-FLV');
    expect(of({kind: 'carriage', codecs: ['vp09'], everywhere: true}).title).toBe('This page cannot play VP9 by any protocol');
    expect(of({kind: 'status', status: 415, codecs: ['vp09']}).title).toBe('HTTP-FLV does not carry VP9');
  });
  it('are said in plain words where nobody knows the codec', () => {
    expect(of({kind: 'codec', codecs: []}).title).toBe("This browser cannot decode this stream's codecs");
    expect(of({kind: 'carriage', codecs: []}).title).toBe("This page cannot play this stream's codecs by HTTP-FLV");
    expect(of({kind: 'status', status: 415}).title).toBe("HTTP-FLV does not carry this stream's codecs");
  });
  it('name the track that is missing, and what to do where there is something', () => {
    expect(explainMissing({kind: 'video', codec: 'vp09', by: 'protocol'}, 'ts', 'ts')).toEqual({
      title: 'No picture',
      hint: "HTTP-TS does not carry the stream's VP9 video. Choose Automatic, or another protocol.",
    });
    expect(explainMissing({kind: 'audio', by: 'protocol'}, 'hls', 'auto')).toEqual({title: 'No sound', hint: "HLS does not carry the stream's audio."});
    expect(explainMissing({kind: 'audio', codec: 'ac-3', by: 'browser'}, 'hls', 'hls').hint).toBe("This browser does not decode the stream's AC-3 audio.");
  });
});

describe('Backoff', () => {
  it('doubles, spreads by a quarter, and gives up', () => {
    const backoff = new Backoff();
    expect([backoff.next(0.5), backoff.next(0.5), backoff.next(0.5)]).toEqual([500, 1000, 2000]);
    backoff.reset();
    expect(backoff.next(0)).toBe(375);
    backoff.reset();
    let spent = 0;
    let delay: number | undefined;
    while ((delay = backoff.next(0.5)) !== undefined) {
      expect(delay).toBeLessThanOrEqual(delayLastMs);
      spent += delay;
    }
    expect(spent).toBeGreaterThanOrEqual(giveUpAfterMs);
    expect(spent).toBeLessThan(giveUpAfterMs + 2 * delayLastMs);
  });
});

describe('meters', () => {
  it('Rate: over a window, and anew when a count goes back', () => {
    const rate = new Rate(3000);
    expect(rate.perSecond()).toBeUndefined();
    for (let t = 0; t <= 10_000; t += 500) rate.add(t, t < 5000 ? 0 : (t - 5000) * 2);
    expect(rate.perSecond()).toBe(2000);
    rate.add(10_500, 0);
    expect(rate.perSecond()).toBeUndefined();
    rate.add(11_500, 10);
    expect(rate.perSecond()).toBe(10);
  });
  it('buffer and holes', () => {
    const ranges = [{start: 0, end: 4}, {start: 4.05, end: 6}, {start: 9, end: 10}];
    expect(bufferAhead(ranges, 1)).toBe(5);
    expect(bufferAhead(ranges, 7)).toBe(0);
    expect(bufferAhead([], 7)).toBe(0);
    expect(behindHole(ranges, 1)).toBeUndefined();
    expect(behindHole(ranges, 6)).toBeCloseTo(9.01);
    expect(behindHole(ranges, 10)).toBeUndefined();
  });
  it('stalls are counted and timed, also one that lasts', () => {
    const stalls = new Stalls();
    stalls.end(5);
    stalls.begin(10);
    stalls.begin(12);
    expect(stalls.durationMs(15)).toBe(5);
    stalls.end(20);
    stalls.begin(30);
    expect([stalls.count, stalls.durationMs(31)]).toEqual([2, 11]);
  });
});

it('figures as text', () => {
  expect(format.bits(2_345_678)).toBe('2.35 Mbit/s');
  expect(format.bits(64_400)).toBe('64 kbit/s');
  expect([format.bits(undefined), format.seconds(NaN), format.frames(undefined), format.size(0, 0)]).toEqual(['–', '–', '–', '–']);
  expect([format.seconds(0.456), format.seconds(12.34), format.seconds(-1)]).toEqual(['0.46 s', '12.3 s', '0.00 s']);
  expect([format.frames(25.04), format.size(640, 360)]).toEqual(['25 fps', '640 × 360']);
  expect([format.duration(61_000), format.duration(3_661_000)]).toEqual(['01:01', '1:01:01']);
});

it('keys do what the page says, and leave fields and the browser alone', () => {
  const press = (key: string, focus: 'text' | 'control' | 'page' = 'page', modified = false) => commandOf({key, focus, modified});
  expect(['k', ' ', 'm', 'f', '/', '+', '-'].map((k) => press(k))).toEqual(['toggle', 'toggle', 'mute', 'fullscreen', 'focus', 'louder', 'quieter']);
  expect(press(' ', 'control')).toBeUndefined();
  expect(press('k', 'control')).toBe('toggle');
  expect(press('k', 'text')).toBeUndefined();
  expect(press('f', 'page', true)).toBeUndefined();
  expect(press('x')).toBeUndefined();
});
