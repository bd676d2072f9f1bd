/** What can go wrong, and what to say about it. Pure. */
import type {Missing} from './attempts';
import {codecList, codecName} from './codec';
import {protocolNames, type Choice, type Protocol} from './target';

export type Failure =
  | {kind: 'status'; status: number; codecs?: string[]} // the stream's codecs, if they are to blame
  | {kind: 'network'} // no connection, or it broke
  | {kind: 'ended'} // the server closed an endless response, or a playlist ended
  | {kind: 'silent'; arrived: boolean} // connected, and nothing came for long; or what came (`arrived`) has not begun to play
  | {kind: 'codec'; codecs: string[]} // the browser does not decode them; empty: nobody says which
  | {kind: 'carriage'; codecs: string[]; everywhere?: boolean} // they cannot be had by this protocol here, or by none
  | {kind: 'format'} // not what the protocol's name promises
  | {kind: 'decode'} // the browser gave up on the media
  | {kind: 'unsupported'}; // this browser cannot play this protocol at all

export interface Problem {
  title: string;
  hint: string;
  /** Whether trying again later may help. */
  retry: boolean;
}

/** The codecs' names, or what they are. */
const named = (codecs: string[]) => codecList(codecs) || "this stream's codecs";

const publishOthers = 'publish H.264 video and AAC audio, which all browsers play.';

function ofStatus(status: number, codecs: string[], stream: string, protocol: Protocol): Problem {
  const name = protocolNames[protocol];
  if (status === 404)
    return {title: `Nobody is publishing ${stream} right now`, hint: 'Check the name, or wait: it plays as soon as it is there.', retry: true};
  if (status === 401 || status === 403)
    return {title: 'The server refuses access to this stream', hint: 'A token may be missing from the address, or no longer valid.', retry: false};
  if (status === 415)
    return {title: `${name} does not carry ${named(codecs)}`, hint: 'Choose Automatic, or another protocol.', retry: false};
  if (status === 429 || status === 503)
    return {title: 'The server is busy', hint: 'It has as many viewers as it can serve, or is being restarted.', retry: true};
  if (status >= 500)
    return {title: `The server has a problem (${status})`, hint: 'Its log says more.', retry: true};
  return {title: `The server answered with status ${status}`, hint: `It may not serve ${name} at this address.`, retry: false};
}

export function explain(failure: Failure, stream: string, protocol: Protocol, host: string): Problem {
  switch (failure.kind) {
    case 'status':
      return ofStatus(failure.status, failure.codecs ?? [], stream, protocol);
    case 'network':
      return {title: `No connection to ${host}`, hint: 'The network is down, or the server is not running.', retry: true};
    case 'ended':
      return {title: `${stream} has ended`, hint: 'Its publisher has stopped. If it comes back, it plays on.', retry: true};
    case 'silent':
      return {title: 'Nothing arrives any more', hint: 'The connection is open, but the publisher or the network has stalled.', retry: true};
    case 'codec':
      return {
        title: `This browser cannot decode ${named(failure.codecs)}`,
        hint: `Try another browser, or ${publishOthers}`,
        retry: false,
      };
    case 'carriage':
      if (failure.everywhere)
        return {title: `This page cannot play ${named(failure.codecs)} by any protocol`, hint: `Its publisher can ${publishOthers}`, retry: false};
      return {
        title: `This page cannot play ${named(failure.codecs)} by ${protocolNames[protocol]}`,
        hint: 'Choose Automatic, or another protocol.',
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

/** What to say while one track plays and another does not. */
export function explainMissing(missing: Missing, protocol: Protocol, choice: Choice): {title: string; hint: string} {
  const title = missing.kind === 'video' ? 'No picture' : 'No sound';
  const codec = missing.codec === undefined ? '' : `${codecName(missing.codec)} `;
  if (missing.by === 'browser') return {title, hint: `This browser does not decode the stream's ${codec}${missing.kind}.`};
  const hint = `${protocolNames[protocol]} does not carry the stream's ${codec}${missing.kind}.`;
  return {title, hint: choice === 'auto' ? hint : `${hint} Choose Automatic, or another protocol.`};
}
