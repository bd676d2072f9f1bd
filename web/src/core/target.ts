/** From what somebody typed to the URL of a stream. Pure. */

export type Protocol = 'flv' | 'ts' | 'hls';
export type Choice = 'auto' | Protocol;

export const protocolNames: Record<Protocol, string> = {flv: 'HTTP-FLV', ts: 'HTTP-TS', hls: 'HLS'};
const extensions: Record<Protocol, string> = {flv: '.flv', ts: '.ts', hls: '.m3u8'};

export interface Target {
  /** What to show and to remember: `live/x`, or a whole URL of another server. */
  name: string;
  /** The protocol that the input itself names, by its extension. */
  named?: Protocol;
  url(protocol: Protocol): string;
}

export function isChoice(text: string | null): text is Choice {
  return text === 'auto' || text === 'flv' || text === 'ts' || text === 'hls';
}

function splitExtension(path: string): {stem: string; named?: Protocol} {
  for (const named of ['flv', 'ts', 'hls'] as const) {
    const extension = extensions[named];
    if (path.toLowerCase().endsWith(extension) && path.charAt(path.length - extension.length - 1) !== '/')
      return {stem: path.slice(0, -extension.length), named};
  }
  return {stem: path};
}

/**
 * Reads `live/x`, `/live/x.flv?token=1`, `http://host/live/x.m3u8` or `rtmp://host/live/x` (browsers have no RTMP: the same name
 * is asked for over HTTP, at this server). `page` is the URL of the page: names are relative to its folder.
 * Returns a sentence for the user if it is none of these.
 */
export function parseTarget(input: string, page: string): Target | string {
  const text = input.trim();
  if (text === '') return 'Enter a stream, such as live/livestream.';
  if (text.length > 2048) return 'This address is too long.';
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme !== undefined && !['http', 'https', 'rtmp', 'rtmps'].includes(scheme))
    return `A browser cannot play ${scheme}:// addresses. Use http:// or the stream's name, such as live/livestream.`;

  const base = new URL('.', page);
  let url: URL;
  try {
    if (scheme?.startsWith('rtmp')) {
      const rtmp = new URL(text.replace(/^rtmps?:/i, 'http:'));
      url = new URL(`.${rtmp.pathname}${rtmp.search}`, base);
    } else {
      url = scheme ? new URL(text) : new URL(text.replace(/^\/+/, './'), base);
    }
  } catch {
    return 'This is not a valid address.';
  }
  url.hash = '';
  const foreign = url.origin !== base.origin || !url.pathname.startsWith(base.pathname);
  const {stem, named} = splitExtension(url.pathname);
  const relative = foreign ? stem.slice(1) : stem.slice(base.pathname.length);
  const parts = relative.split('/').filter((part) => part !== '');
  if (parts.length < 2 && !(foreign && named && parts.length === 1))
    return 'A stream has an application and a name, such as live/livestream.';
  if (new URL(page).protocol === 'https:' && url.protocol === 'http:')
    return 'This page came over https://, so the browser refuses streams from http:// addresses.';

  const urlOf = (protocol: Protocol) => {
    const out = new URL(url);
    out.pathname = stem + extensions[protocol];
    return out.href;
  };
  const shown = parts.join('/') + url.search;
  return {name: foreign ? `${url.origin}${stem}${named ? extensions[named] : ''}${url.search}` : shown, named, url: urlOf};
}

export interface Abilities {
  mediaSource: boolean; // Media Source Extensions, which mpegts.js needs
  hls: boolean; // hls.js works (also with Safari's ManagedMediaSource), or the browser itself plays HLS
}

/** What to try, in order. Only `auto` without an extension has more than one entry: the next is tried when a codec does not fit. */
export function protocolsToTry(choice: Choice, target: Target, can: Abilities): Protocol[] {
  if (choice !== 'auto') return [choice];
  if (target.named) return [target.named];
  const all: Protocol[] = [];
  if (can.mediaSource) all.push('flv', 'ts');
  if (can.hls) all.push('hls');
  return all;
}
