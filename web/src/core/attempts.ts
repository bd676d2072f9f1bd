/** Which protocol to try next when one does not do. Pure. */
import {codecKind, type Tracks, type TrackKind} from './codec';
import type {Failure} from './problem';
import type {Protocol} from './target';

/** A track that the stream has, and that does not play. */
export interface Missing {
  kind: TrackKind;
  codec?: string;
  /** Who lacks it: the protocol does not bring it, or the browser does not decode it. */
  by: 'protocol' | 'browser';
}

/** Whether another protocol may do what this one did not. `doubtful`: one has failed so already. */
function unfit(failure: Failure, played: boolean, doubtful: boolean): boolean {
  if (failure.kind === 'silent') return !played && (failure.arrived || doubtful); // a playlist may go on without anything in it
  return ['unsupported', 'format', 'codec', 'carriage'].includes(failure.kind) || (failure.kind === 'status' && failure.status === 415);
}

function codecsOf(failures: Failure[], kind: 'codec' | 'carriage'): string[] {
  return failures.flatMap((f) => (f.kind === kind ? f.codecs : []));
}

/** Of several protocols' failures the one to tell: that the browser lacks a codec, rather than that one protocol does not carry it. */
function mostTelling(failures: Failure[]): Failure {
  const last = failures[failures.length - 1]!;
  if (failures.some((f) => f.kind === 'codec')) return {kind: 'codec', codecs: codecsOf(failures, 'codec')};
  if (failures.length > 1 && failures.some((f) => f.kind === 'carriage')) return {kind: 'carriage', codecs: codecsOf(failures, 'carriage'), everywhere: true};
  return last;
}

/** The protocols that are left, in order, and what was learned about the stream on the way. */
export class Attempts {
  /** Tracks that a protocol was seen to fail on: the stream has them. */
  readonly known: Tracks = {};
  private readonly failures: Failure[] = [];
  private partial?: Protocol; // plays, but not all of the stream: better than nothing
  private settled = false;

  constructor(private left: Protocol[]) {}

  get protocol(): Protocol | undefined {
    return this.left[0];
  }

  /** What to tell about a failure; nothing if `protocol` is another one now, to be tried at once. `played`: there had been a picture or sound. */
  failed(failure: Failure, played: boolean): Failure | undefined {
    if (failure.kind === 'codec' || failure.kind === 'carriage')
      for (const codec of failure.codecs) {
        const kind = codecKind(codec);
        if (kind) this.known[kind] ??= codec;
      }
    if (played) this.partial = undefined; // a whole one has done better since
    const fits = !unfit(failure, played, this.failures.length > 0);
    if (this.partial && !played && (fits || this.left.length === 1)) {
      this.left = [this.partial];
      this.partial = undefined;
      this.settled = true;
      return undefined;
    }
    if (fits) return failure;
    this.failures.push(failure);
    if (this.left.length > 1) {
      this.left = this.left.slice(1);
      return undefined;
    }
    return mostTelling(this.failures.splice(0));
  }

  /** A track does not play. Whether `protocol` is another one now, to be tried at once. */
  misses(): boolean {
    if (this.settled || this.left.length < 2) return false;
    this.partial ??= this.left[0];
    this.left = this.left.slice(1);
    return true;
  }
}

/** What of the tracks that a stream has (`known`) is not among those that play; nothing as long as neither is seen to play. */
export function missingOf(known: Tracks, playing: Tracks, refused: Tracks): Missing | undefined {
  for (const kind of ['video', 'audio'] as const) {
    if (refused[kind]) return {kind, codec: refused[kind], by: 'browser'};
    const other = kind === 'video' ? playing.audio : playing.video;
    if (known[kind] && !playing[kind] && other) return {kind, codec: known[kind], by: 'protocol'};
  }
  return undefined;
}
