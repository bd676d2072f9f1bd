import {codecKind, type Tracks} from '../core/codec';
import type {Failure} from '../core/problem';
import type {Protocol} from '../core/target';

/** What an engine learns about a stream beside what the video element shows. */
export interface MediaFacts {
  /** Of the tracks that play. */
  codecs: Tracks;
  /** Of those that came, and that the browser does not take. */
  refused: Tracks;
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

export function noFacts(): MediaFacts {
  return {codecs: {}, refused: {}, bytes: 0};
}

/** Those of some codecs that the browser does not decode by itself; none if each would do. */
export function undecodable(codecs: string[]): string[] {
  // An iPhone has the managed one alone.
  const source = (self as {ManagedMediaSource?: typeof MediaSource}).ManagedMediaSource ?? self.MediaSource;
  if (!source) return [];
  return codecs.filter((codec) => !source.isTypeSupported(`${codecKind(codec) ?? 'video'}/mp4; codecs="${codec}"`));
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
