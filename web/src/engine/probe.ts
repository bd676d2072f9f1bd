import type {Tracks} from '../core/codec';
import {FlvHead} from '../core/flv_head';

const answerMs = 12_000, tracksMs = 4000;

/** The tracks that a stream's FLV has; those that came within four seconds of the first bytes. Nothing is known of a server that has no FLV. */
export async function probeTracks(flvUrl: string, signal: AbortSignal): Promise<Tracks> {
  const head = new FlvHead();
  const enough = new AbortController();
  const end = () => enough.abort();
  let timer = window.setTimeout(end, answerMs);
  signal.addEventListener('abort', end);
  try {
    const answer = await fetch(flvUrl, {signal: enough.signal});
    let begun = false;
    const reader = answer.ok ? answer.body?.getReader() : undefined;
    while (reader && !head.done) {
      const {done, value} = await reader.read();
      if (done) break;
      if (!begun) {
        begun = true;
        window.clearTimeout(timer);
        timer = window.setTimeout(end, tracksMs);
      }
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
