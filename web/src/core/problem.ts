/** What can go wrong, and what to say about it. Pure. */
import {protocolNames, type Protocol} from './target';

export type Failure =
  | {kind: 'status'; status: number}
  | {kind: 'network'} // no connection, or it broke
  | {kind: 'ended'} // the server closed an endless response, or a playlist ended
  | {kind: 'silent'} // connected, and nothing came for long
  | {kind: 'codec'; codec: string}
  | {kind: 'format'} // not what the protocol's name promises
  | {kind: 'decode'} // the browser gave up on the media
  | {kind: 'unsupported'}; // this browser cannot play this protocol at all

export interface Problem {
  title: string;
  hint: string;
  /** Whether trying again later may help. */
  retry: boolean;
}

const codecNames: [RegExp, string][] = [
  [/^(hvc1|hev1|hevc|h265)/i, 'H.265 (HEVC)'],
  [/^(avc1|avc3|h264)/i, 'H.264'],
  [/^av01/i, 'AV1'],
  [/^vp0?9/i, 'VP9'],
  [/^vp0?8/i, 'VP8'],
  [/^(mp4a\.40(?!\.34)|aac)/i, 'AAC'],
  [/^(mp4a\.(69|6b|40\.34)|mp3)/i, 'MP3'],
  [/^opus/i, 'Opus'],
  [/^ac-3/i, 'AC-3'],
  [/^ec-3/i, 'E-AC-3'],
  [/^flac/i, 'FLAC'],
];

/** `avc1.64001f` as people call it: `H.264`; what is not known stays as it is. */
export function codecName(codec: string): string {
  return codecNames.find(([pattern]) => pattern.test(codec))?.[1] ?? codec;
}

function ofStatus(status: number, stream: string, protocol: Protocol): Problem {
  const name = protocolNames[protocol];
  if (status === 404)
    return {title: `Nobody is publishing ${stream} right now`, hint: 'Check the name, or wait: it plays as soon as it is there.', retry: true};
  if (status === 401 || status === 403)
    return {title: 'The server refuses access to this stream', hint: 'A token may be missing from the address, or no longer valid.', retry: false};
  if (status === 415)
    return {title: `This stream's codecs do not fit into ${name}`, hint: 'Choose another protocol.', retry: false};
  if (status === 429 || status === 503)
    return {title: 'The server is busy', hint: 'It has as many viewers as it can serve, or is being restarted.', retry: true};
  if (status >= 500)
    return {title: `The server has a problem (${status})`, hint: 'Its log says more.', retry: true};
  return {title: `The server answered with status ${status}`, hint: `It may not serve ${name} at this address.`, retry: false};
}

export function explain(failure: Failure, stream: string, protocol: Protocol, host: string): Problem {
  switch (failure.kind) {
    case 'status':
      return ofStatus(failure.status, stream, protocol);
    case 'network':
      return {title: `No connection to ${host}`, hint: 'The network is down, or the server is not running.', retry: true};
    case 'ended':
      return {title: `${stream} has ended`, hint: 'Its publisher has stopped. If it comes back, it plays on.', retry: true};
    case 'silent':
      return {title: 'Nothing arrives any more', hint: 'The connection is open, but the publisher or the network has stalled.', retry: true};
    case 'codec':
      return {
        title: `This browser cannot decode ${codecName(failure.codec)}`,
        hint: 'Try another browser, or publish H.264 video and AAC audio, which all of them play.',
        retry: false,
      };
    case 'format':
      return {title: `This is not a ${protocolNames[protocol]} stream`, hint: 'Choose another protocol, or check the address.', retry: false};
    case 'decode':
      return {title: 'The browser could not decode a part of this stream', hint: 'It goes on from the next keyframe.', retry: true};
    case 'unsupported':
      return {title: `This browser cannot play ${protocolNames[protocol]}`, hint: 'Choose HLS, or another browser.', retry: false};
  }
}
