/** Codecs by the names that browsers (RFC 6381), FLV tags and people give them. Pure. */

export type TrackKind = 'video' | 'audio';

/** The codec of each track of a stream, as far as it is known. */
export type Tracks = Partial<Record<TrackKind, string>>;

const codecs: [RegExp, string, TrackKind][] = [
  [/^(hvc1|hev1|hevc|h265)/i, 'H.265 (HEVC)', 'video'],
  [/^(vvc1|vvi1)/i, 'H.266 (VVC)', 'video'],
  [/^(avc1|avc3|h264)/i, 'H.264', 'video'],
  [/^av01/i, 'AV1', 'video'],
  [/^vp0?9/i, 'VP9', 'video'],
  [/^vp0?8/i, 'VP8', 'video'],
  [/^vp6/i, 'VP6', 'video'],
  [/^sorenson/i, 'Sorenson H.263', 'video'],
  [/^screen/i, 'Screen video', 'video'],
  [/^(mp4a\.(69|6b|40\.34)|mp3|\.mp3)/i, 'MP3', 'audio'],
  [/^(mp4a|aac)/i, 'AAC', 'audio'],
  [/^opus/i, 'Opus', 'audio'],
  [/^ac-3/i, 'AC-3', 'audio'],
  [/^ec-3/i, 'E-AC-3', 'audio'],
  [/^flac/i, 'FLAC', 'audio'],
  [/^speex/i, 'Speex', 'audio'],
  [/^nellymoser/i, 'Nellymoser', 'audio'],
  [/^g711/i, 'G.711', 'audio'],
  [/^(ad)?pcm/i, 'PCM', 'audio'],
];

/** `avc1.64001f` as people call it: `H.264`; what is not known stays as it is. */
export function codecName(codec: string): string {
  return codecs.find(([pattern]) => pattern.test(codec))?.[1] ?? codec;
}

export function codecKind(codec: string): TrackKind | undefined {
  return codecs.find(([pattern]) => pattern.test(codec))?.[2];
}

/** `VP9 and Opus`, each name once; empty if there are none. */
export function codecList(list: string[]): string {
  const names = [...new Set(list.map(codecName))];
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names[names.length - 1]}`;
}

/** Which is which in `mp4a.40.2,avc1.64001f`: libraries write them in either order. */
export function tracksOf(list: string[]): Tracks {
  const out: Tracks = {};
  for (const codec of list) {
    const kind = codecKind(codec);
    if (kind) out[kind] ??= codec;
  }
  return out;
}

/** The codecs in a MIME type, or in a sentence with one. `audio/mpeg` has no such parameter, and is MP3. */
export function codecsOfMime(text: string): string[] {
  const found = /codecs=["']?([^"';)]+)/i.exec(text)?.[1];
  if (found) return found.split(',').map((codec) => codec.trim()).filter((codec) => codec !== '');
  return /\baudio\/mpeg\b/i.test(text) ? ['mp3'] : [];
}

// Adobe's FLV specification 10.1, E.4.2.1 and E.4.3.1; 12 is what Chinese networks write for HEVC.
const flvAudio: Record<number, string> = {
  0: 'pcm', 1: 'adpcm', 2: 'mp3', 3: 'pcm', 4: 'nellymoser', 5: 'nellymoser', 6: 'nellymoser', 7: 'g711', 8: 'g711', 10: 'mp4a', 11: 'speex', 14: 'mp3',
};
const flvVideo: Record<number, string> = {2: 'sorenson', 3: 'screen', 4: 'vp6', 5: 'vp6', 6: 'screen', 7: 'avc1', 12: 'hvc1'};

/** By the number of FLV's tag headers. */
export function codecOfFlv(kind: TrackKind, id: number): string | undefined {
  return (kind === 'video' ? flvVideo : flvAudio)[id];
}

/** By Enhanced RTMP's FourCC; nothing if the four are no name. */
export function codecOfFourCc(text: string): string | undefined {
  return /^[a-z0-9.][a-z0-9 .-]{3}$/i.test(text) ? text.trim() : undefined;
}
