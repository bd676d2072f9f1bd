/** What tracks a stream has, out of the first bytes of its FLV, which carries all of them. Pure. */
import {codecOfFlv, codecOfFourCc, type TrackKind, type Tracks} from './codec';

const headerSize = 9;
const tagHeaderSize = 11;
const previousTagSize = 4;
/** What a tag's first bytes must hold to know its codec, whatever it is wrapped in. */
const lookAtMost = 64;

// Enhanced RTMP v2, "Enhanced Video" and "Enhanced Audio": packet types of the extended headers.
const videoTypes = {multitrack: 6, modEx: 7};
const audioTypes = {multitrack: 5, modEx: 7};
const ownCodecEach = 2; // of a multitrack packet's types: each track says its codec

/** The codec that a tag's body names; nothing where it names none, or not yet. */
function codecOf(kind: TrackKind, body: Uint8Array): string | undefined {
  const first = body[0];
  if (first === undefined) return undefined;
  const extended = kind === 'video' ? first & 0x80 : first >> 4 === 9;
  if (!extended) return codecOfFlv(kind, kind === 'video' ? first & 15 : first >> 4);
  const types = kind === 'video' ? videoTypes : audioTypes;
  let type = first & 15;
  let at = 1;
  while (type === types.modEx) {
    let size = (body[at++] ?? 0) + 1;
    if (size === 256) {
      size = (((body[at] ?? 0) << 8) | (body[at + 1] ?? 0)) + 1;
      at += 2;
    }
    at += size;
    if (at >= body.length) return undefined;
    type = body[at++]! & 15;
  }
  if (type === types.multitrack) {
    const many = body[at++] ?? 0;
    // Then the first track's FourCC stands in the same place.
    if (many >> 4 > ownCodecEach) return undefined;
  }
  return codecOfFourCc(String.fromCharCode(...body.subarray(at, at + 4)));
}

export class FlvHead {
  readonly tracks: Tracks = {};
  /** It is no FLV, or all that its header promises was seen. */
  done = false;
  private data = new Uint8Array(0);
  private skip = 0; // bytes of the body of a tag that has been looked at
  private promised?: TrackKind[];

  push(chunk: Uint8Array): void {
    const fresh = chunk.subarray(Math.min(this.skip, chunk.length));
    this.skip -= chunk.length - fresh.length;
    if (fresh.length === 0) return;
    const data = new Uint8Array(this.data.length + fresh.length);
    data.set(this.data);
    data.set(fresh, this.data.length);
    let at = 0;
    if (!this.promised) {
      if (data.length < headerSize + previousTagSize) return void (this.data = data);
      if (String.fromCharCode(...data.subarray(0, 3)) !== 'FLV') return void (this.done = true);
      const flags = data[4]! & 5 || 5; // a header that promises nothing says nothing
      this.promised = [...(flags & 1 ? ['video' as const] : []), ...(flags & 4 ? ['audio' as const] : [])];
      at = headerSize + previousTagSize;
    }
    while (!this.done && at + tagHeaderSize <= data.length) {
      const size = (data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!;
      const body = at + tagHeaderSize;
      if (data.length < body + Math.min(size, lookAtMost)) break;
      const type = data[at]! & 31;
      const kind = type === 9 ? 'video' : type === 8 ? 'audio' : undefined;
      const codec = kind && codecOf(kind, data.subarray(body, body + Math.min(size, lookAtMost)));
      if (kind && codec) this.tracks[kind] ??= codec;
      this.done = this.promised.every((k) => this.tracks[k] !== undefined);
      at = body + size + previousTagSize;
    }
    this.skip = Math.max(0, at - data.length);
    this.data = data.slice(Math.min(at, data.length));
  }
}
