/** Deep links: `/?stream=live/x&protocol=flv&autoplay=1&muted=1`. Pure. */
import {isChoice, type Choice} from './target';

export interface Link {
  stream: string;
  choice: Choice;
  autoplay: boolean;
  muted: boolean;
}

const on = (text: string | null) => text !== null && !['0', 'false', 'no', 'off'].includes(text.toLowerCase());

export function readLink(search: string): Link {
  const query = new URLSearchParams(search);
  const protocol = query.get('protocol');
  return {
    stream: query.get('stream') ?? '',
    choice: isChoice(protocol) ? protocol : 'auto',
    autoplay: on(query.get('autoplay')),
    muted: on(query.get('muted')),
  };
}

/** The query of a link that plays the same; `muted` and `autoplay` are said only where they are set. */
export function writeLink(link: Link): string {
  // A stream's slashes and colons may stand in a query as they are (RFC 3986, 3.4), and read better.
  const stream = encodeURIComponent(link.stream).replace(/%2F/gi, '/').replace(/%3A/gi, ':');
  let out = `?stream=${stream}`;
  if (link.choice !== 'auto') out += `&protocol=${link.choice}`;
  if (link.autoplay) out += '&autoplay=1';
  if (link.muted) out += '&muted=1';
  return out;
}
