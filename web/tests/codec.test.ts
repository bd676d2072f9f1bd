import {describe, expect, it} from 'vitest';
import {Attempts, missingOf} from '../src/core/attempts';
import {codecKind, codecList, codecName, codecOfFlv, codecOfFourCc, codecsOfMime, tracksOf} from '../src/core/codec';
import {FlvHead} from '../src/core/flv_head';
import type {Failure} from '../src/core/problem';

describe('codecs', () => {
  it('are known by their RFC 6381 names', () => {
    const names = ['avc1.64001f', 'hev1.1.6.L93', 'av01.0.04M.08', 'vp09.00.10.08', 'mp4a.40.2', 'mp4a.6b', 'mp4a.40.34', 'opus', 'ec-3', 'odd'];
    expect(names.map(codecName)).toEqual(['H.264', 'H.265 (HEVC)', 'AV1', 'VP9', 'AAC', 'MP3', 'MP3', 'Opus', 'E-AC-3', 'odd']);
    expect(names.map(codecKind)).toEqual(['video', 'video', 'video', 'video', 'audio', 'audio', 'audio', 'audio', 'audio', undefined]);
  });
  it('are told apart by themselves, in whatever order they stand', () => {
    const both = {video: 'avc1.64001f', audio: 'mp4a.40.2'};
    expect(tracksOf(['avc1.64001f', 'mp4a.40.2'])).toEqual(both);
    expect(tracksOf(['mp4a.40.2', 'avc1.64001f'])).toEqual(both);
    expect(tracksOf(['Opus', 'vp09.00.10.08'])).toEqual({video: 'vp09.00.10.08', audio: 'Opus'});
    expect(tracksOf(['odd'])).toEqual({});
  });
  it('are listed as people do, each once', () => {
    expect([codecList([]), codecList(['opus']), codecList(['vp09', 'vp09.00.10.08', 'opus'])]).toEqual(['', 'Opus', 'VP9 and Opus']);
    expect(codecList(['hvc1', 'opus', 'ac-3'])).toBe('H.265 (HEVC), Opus and AC-3');
  });
  it('are found in MIME types, also in those of a browser\'s complaint', () => {
    expect(codecsOfMime('video/mp4;codecs="avc1.64001f, mp4a.40.2"')).toEqual(['avc1.64001f', 'mp4a.40.2']);
    expect(codecsOfMime("The type provided ('video/mp4;codecs=hvc1.1.6.L60.90') is not supported.")).toEqual(['hvc1.1.6.L60.90']);
    expect(codecsOfMime('audio/mpeg')).toEqual(['mp3']);
    expect(codecsOfMime('video/mp4')).toEqual([]);
  });
  it('are found by the numbers and FourCCs of FLV', () => {
    expect([codecOfFlv('audio', 2), codecOfFlv('audio', 7), codecOfFlv('video', 2), codecOfFlv('video', 99)].map((c) => c && codecName(c))).toEqual([
      'MP3', 'G.711', 'Sorenson H.263', undefined,
    ]);
    expect([codecOfFourCc('vp09'), codecOfFourCc('\x10hvc'), codecOfFourCc('ab')]).toEqual(['vp09', undefined, undefined]);
  });
});

describe('FlvHead', () => {
  const header = (flags: number) => [0x46, 0x4c, 0x56, 1, flags, 0, 0, 0, 9, 0, 0, 0, 0];
  const tag = (type: number, body: number[]) => [type, 0, body.length >> 8, body.length & 255, ...Array<number>(7).fill(0), ...body, 0, 0, 0, 0];
  const text = (s: string) => [...s].map((c) => c.charCodeAt(0));
  const noise = Array<number>(5000).fill(9); // looks like tags
  const of = (...parts: number[][]) => {
    const head = new FlvHead();
    head.push(Uint8Array.from(parts.flat()));
    return head;
  };

  it('finds the codecs of both tracks, however the bytes are cut', () => {
    const bytes = [...header(5), ...tag(18, noise), ...tag(8, [0xaf, 0, 0x12, 0x10]), ...tag(9, [0x17, 0, ...noise])];
    for (const step of [1, 7, 100, 4096, bytes.length]) {
      const head = new FlvHead();
      for (let at = 0; at < bytes.length; at += step) head.push(Uint8Array.from(bytes.slice(at, at + step)));
      expect([head.tracks, head.done]).toEqual([{audio: 'mp4a', video: 'avc1'}, true]);
    }
  });
  it('knows Enhanced RTMP, with multitrack and ModEx around it', () => {
    expect(of(header(5), tag(9, [0x90, ...text('vp09'), 1]), tag(8, [0x90, ...text('Opus')])).tracks).toEqual({video: 'vp09', audio: 'Opus'});
    expect(of(header(1), tag(9, [0x96, 0x10, ...text('hvc1'), 0])).tracks).toEqual({video: 'hvc1'});
    expect(of(header(1), tag(9, [0xa7, 2, 0, 1, 0xf4, 0x03, ...text('hvc1')])).tracks).toEqual({video: 'hvc1'});
    expect(of(header(4), tag(8, [0x95, 0x00, ...text('fLaC'), 0])).tracks).toEqual({audio: 'fLaC'});
  });
  it('is done with what the header promises, or with what is no FLV', () => {
    expect(of(header(4), tag(8, [0x2f, 1])).done).toBe(true);
    expect(of(header(5), tag(8, [0x2f, 1]))).toMatchObject({done: false, tracks: {audio: 'mp3'}});
    expect(of(text('<!doctype html>'))).toMatchObject({done: true, tracks: {}});
    expect(of(header(5), tag(9, []), tag(8, [0x97, 255])).tracks).toEqual({});
  });
});

describe('Attempts', () => {
  const vp9: Failure = {kind: 'carriage', codecs: ['vp09']};
  const wrong = {kind: 'status', status: 415} as const;
  const nobody = {kind: 'status', status: 404} as const;
  const all = () => new Attempts(['flv', 'ts', 'hls']);

  it('go to the next protocol when a codec does not fit, and stay there', () => {
    const a = all();
    expect(a.failed(vp9, false)).toBeUndefined();
    expect(a.protocol).toBe('ts');
    expect(a.failed(wrong, false)).toBeUndefined();
    expect(a.protocol).toBe('hls');
    expect(a.failed({kind: 'ended'}, true)).toEqual({kind: 'ended'});
    expect(a.protocol).toBe('hls');
  });
  it('do not go on where another protocol would not help', () => {
    const a = all();
    for (const failure of [nobody, {kind: 'network'}, {kind: 'ended'}, {kind: 'silent', arrived: false}] as const) expect(a.failed(failure, false)).toEqual(failure);
    expect(a.protocol).toBe('flv');
    expect(a.failed({kind: 'silent', arrived: true}, false)).toBeUndefined();
    expect(a.protocol).toBe('ts');
  });
  it('tell at last what the browser lacks, by name where one was heard', () => {
    const a = all();
    a.failed({kind: 'codec', codecs: ['hvc1.1.6.L60']}, false);
    a.failed(wrong, false);
    expect(a.failed({kind: 'codec', codecs: []}, false)).toEqual({kind: 'codec', codecs: ['hvc1.1.6.L60']});
  });
  it('tell at last what no protocol carries', () => {
    const a = all();
    a.failed(vp9, false);
    a.failed(wrong, false);
    expect(a.failed(wrong, false)).toEqual({kind: 'carriage', codecs: ['vp09'], everywhere: true});
  });
  it('go on as well when the codec changes while it plays', () => {
    const a = all();
    expect(a.failed(vp9, true)).toBeUndefined();
    expect(a.protocol).toBe('ts');
  });
  it('take silence for an answer after others have failed, but not once it played', () => {
    const a = all();
    a.failed(vp9, false);
    a.failed(wrong, false);
    expect(a.failed({kind: 'silent', arrived: false}, true)).toEqual({kind: 'silent', arrived: false});
    expect(a.failed({kind: 'silent', arrived: false}, false)).toEqual({kind: 'carriage', codecs: ['vp09'], everywhere: true});
  });
  it('tell a chosen protocol\'s failure as it is', () => {
    expect(new Attempts(['flv']).failed(vp9, false)).toEqual(vp9);
    expect(new Attempts([]).failed({kind: 'unsupported'}, false)).toEqual({kind: 'unsupported'});
  });
  it('leave a protocol that plays a part for one that plays all, and come back if there is none', () => {
    const a = all();
    a.failed(vp9, false);
    expect(missingOf(a.known, {audio: 'opus'}, {})).toEqual({kind: 'video', codec: 'vp09', by: 'protocol'});
    expect(a.misses()).toBe(true);
    expect(a.protocol).toBe('hls');
    expect(a.failed(nobody, false)).toBeUndefined(); // a server without HLS
    expect(a.protocol).toBe('ts');
    expect(a.misses()).toBe(false);
    expect(a.failed(nobody, false)).toEqual(nobody);
  });
  it('do not come back to a part once a protocol has played all', () => {
    const a = all();
    a.failed(vp9, false);
    a.misses();
    expect(a.failed({kind: 'ended'}, true)).toEqual({kind: 'ended'});
    expect(a.failed(nobody, false)).toEqual(nobody);
    expect(a.protocol).toBe('hls');
  });
  it('are content with a part where there is nothing else', () => {
    expect(new Attempts(['ts']).misses()).toBe(false);
  });
});

it('a track is missing if the stream has it and only the other one plays', () => {
  const known = {video: 'vp09', audio: 'opus'};
  expect(missingOf(known, {}, {})).toBeUndefined(); // nothing plays yet
  expect(missingOf(known, {video: 'vp09.00', audio: 'opus'}, {})).toBeUndefined();
  expect(missingOf({audio: 'opus'}, {audio: 'opus'}, {})).toBeUndefined(); // sound only
  expect(missingOf(known, {video: 'vp09.00'}, {})).toEqual({kind: 'audio', codec: 'opus', by: 'protocol'});
  expect(missingOf({}, {video: 'avc1'}, {audio: 'ac-3'})).toEqual({kind: 'audio', codec: 'ac-3', by: 'browser'});
});
