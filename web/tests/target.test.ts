import {describe, expect, it} from 'vitest';
import {parseTarget, protocolsToTry, type Target} from '../src/core/target';

const page = 'http://media.example:8080/?stream=x';
const target = (input: string, from = page): Target => {
  const t = parseTarget(input, from);
  if (typeof t === 'string') throw new Error(`${input}: ${t}`);
  return t;
};

describe('parseTarget', () => {
  it.each([
    ['live/x', 'live/x', undefined, 'http://media.example:8080/live/x.flv'],
    ['  /live/x  ', 'live/x', undefined, 'http://media.example:8080/live/x.flv'],
    ['live/x.flv', 'live/x', 'flv', 'http://media.example:8080/live/x.flv'],
    ['/live/x.m3u8', 'live/x', 'hls', 'http://media.example:8080/live/x.flv'],
    ['live/x?token=a%20b', 'live/x?token=a%20b', undefined, 'http://media.example:8080/live/x.flv?token=a%20b'],
    ['live/room/x.ts?vhost=v', 'live/room/x?vhost=v', 'ts', 'http://media.example:8080/live/room/x.flv?vhost=v'],
    ['http://media.example:8080/live/x.flv', 'live/x', 'flv', 'http://media.example:8080/live/x.flv'],
    ['rtmp://elsewhere:1935/live/x?vhost=v', 'live/x?vhost=v', undefined, 'http://media.example:8080/live/x.flv?vhost=v'],
    ['http://other/live/x.m3u8#t', 'http://other/live/x.m3u8', 'hls', 'http://other/live/x.flv'],
    ['http://other/x.m3u8', 'http://other/x.m3u8', 'hls', 'http://other/x.flv'],
    ['live/.flv', 'live/.flv', undefined, 'http://media.example:8080/live/.flv.flv'],
  ])('%s', (input, name, named, flv) => {
    const t = target(input);
    expect([t.name, t.named, t.url('flv')]).toEqual([name, named, flv]);
  });

  it('gives each protocol its extension', () => {
    const t = target('live/x?token=1');
    expect(t.url('ts')).toBe('http://media.example:8080/live/x.ts?token=1');
    expect(t.url('hls')).toBe('http://media.example:8080/live/x.m3u8?token=1');
  });

  it('stays below the folder of the page', () => {
    expect(target('live/x', 'https://cdn.example/sluice/?a').url('flv')).toBe('https://cdn.example/sluice/live/x.flv');
    expect(target('/live/x', 'https://cdn.example/sluice/').url('flv')).toBe('https://cdn.example/sluice/live/x.flv');
  });

  it.each(['', '   ', 'x', '/x', 'srt://h:1/live/x', 'javascript://live/x', 'http://', 'http://[/live/x', 'a/' + 'x'.repeat(3000)])(
    'says what is wrong with %j',
    (input) => expect(parseTarget(input, page)).toBeTypeOf('string'),
  );

  it('knows that a secure page cannot play from an insecure address', () => {
    expect(parseTarget('http://media.example/live/x.flv', 'https://media.example/')).toContain('https://');
  });

  it('reads its own names again', () => {
    for (const input of ['live/x.flv?a=b', 'http://other:1/live/x.ts?k=1', 'live/ü x']) {
      const once = target(input);
      expect(target(once.name).url('ts')).toBe(once.url('ts'));
    }
  });
});

describe('protocolsToTry', () => {
  const desk = {mediaSource: true, hls: true};
  it('goes from the lowest latency to what always works', () => {
    expect(protocolsToTry('auto', target('live/x'), desk)).toEqual(['flv', 'ts', 'hls']);
    expect(protocolsToTry('auto', target('live/x'), {mediaSource: false, hls: true})).toEqual(['hls']);
    expect(protocolsToTry('auto', target('live/x'), {mediaSource: false, hls: false})).toEqual([]);
  });
  it('does as it is told', () => {
    expect(protocolsToTry('auto', target('live/x.ts'), desk)).toEqual(['ts']);
    expect(protocolsToTry('hls', target('live/x.flv'), desk)).toEqual(['hls']);
  });
});
