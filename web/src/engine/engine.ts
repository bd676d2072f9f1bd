import type {Failure} from '../core/problem';
import type {Protocol} from '../core/target';

/** What an engine learns about a stream beside what the video element shows. */
export interface MediaFacts {
  videoCodec?: string;
  audioCodec?: string;
  bytes: number; // of media received
  /** Behind the live edge, if the protocol tells; else what is buffered counts. */
  latency?: number;
}

/** Told by an engine until it is destroyed. */
export interface EngineEvents {
  failed(failure: Failure): void;
}

/** One attempt to play one URL in a video element. Made anew for each attempt. */
export interface Engine {
  readonly facts: MediaFacts;
  destroy(): void;
}

export type EngineMaker = (video: HTMLVideoElement, url: string, events: EngineEvents) => Engine;

/** Each library comes when it is first needed. */
export async function loadEngine(protocol: Protocol): Promise<EngineMaker> {
  if (protocol !== 'hls') {
    const {mpegtsEngine} = await import('./mpegts');
    return (video, url, events) => mpegtsEngine(video, url, events, protocol);
  }
  const {hlsEngine, hlsJsWorks} = await import('./hls');
  if (hlsJsWorks()) return hlsEngine;
  return (await import('./native')).nativeEngine;
}

export function nativeHls(): boolean {
  return document.createElement('video').canPlayType('application/vnd.apple.mpegurl') !== '';
}

export function hasMediaSource(): boolean {
  return typeof MediaSource !== 'undefined';
}

export function hasHls(): boolean {
  return hasMediaSource() || 'ManagedMediaSource' in window || nativeHls();
}
