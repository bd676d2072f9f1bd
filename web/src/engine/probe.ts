import type {Tracks} from '../core/codec';
import {FlvHead} from '../core/flv_head';

const forMs = 4000;

/** The tracks that a stream's FLV has; those that came within four seconds. Nothing is known of a server that has no FLV. */
export async function probeTracks(flvUrl: string, signal: AbortSignal): Promise<Tracks> {
  const head = new FlvHead();
  const enough = new AbortController();
  const end = () => enough.abort();
  const timer = window.setTimeout(end, forMs);
  signal.addEventListener('abort', end);
  try {
    const answer = await fetch(flvUrl, {signal: enough.signal});
    const reader = answer.ok ? answer.body?.getReader() : undefined;
    while (reader && !head.done) {
      const {done, value} = await reader.read();
      if (done) break;
      head.push(value);
    }
  } catch {
    // Aborted, or refused: what is known is known.
  } finally {
    window.clearTimeout(timer);
    signal.removeEventListener('abort', end);
    end();
  }
  return head.tracks;
}
