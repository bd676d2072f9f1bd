import Hls, {type ErrorData} from 'hls.js/light';
import {codecsOfMime, tracksOf} from '../core/codec';
import type {Failure} from '../core/problem';
import {noFacts, undecodable, type Engine, type EngineEvents} from './engine';

export function hlsJsWorks(): boolean {
  return Hls.isSupported();
}

/** The codecs of the variants that hls.js found unplayable, which it lists in JSON at the end of its sentence. */
function codecsOfVariants(message: string): string[] {
  const list = /\["(.*)"\]/.exec(message)?.[1];
  return list ? list.split(/"?,"?/) : [];
}

/** `refused`: codecs for which it got no buffer before. */
function failureOf(data: ErrorData, refused: string[]): Failure {
  const status = data.response?.code ?? 0;
  switch (data.details) {
    case Hls.ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR:
    case Hls.ErrorDetails.BUFFER_ADD_CODEC_ERROR:
    case Hls.ErrorDetails.BUFFER_INCOMPATIBLE_CODECS_ERROR:
      return {kind: 'codec', codecs: undecodable([...codecsOfMime(data.mimeType ?? ''), ...codecsOfVariants(data.error?.message ?? ''), ...refused])};
    case Hls.ErrorDetails.MANIFEST_PARSING_ERROR:
    case Hls.ErrorDetails.FRAG_PARSING_ERROR:
      return {kind: 'format'};
  }
  if (data.type === Hls.ErrorTypes.NETWORK_ERROR) return status >= 400 ? {kind: 'status', status} : {kind: 'network'};
  return {kind: 'decode'};
}

export function hlsEngine(video: HTMLVideoElement, url: string, events: EngineEvents): Engine {
  const facts = noFacts();
  const once = {maxTimeToFirstByteMs: 11000, maxLoadTimeMs: 15000, timeoutRetry: null, errorRetry: null};
  const hls = new Hls({
    enableWorker: false, // no script from elsewhere than this server, and no blob
    lowLatencyMode: true,
    liveSyncDurationCount: 2,
    liveMaxLatencyDurationCount: 6,
    maxLiveSyncPlaybackRate: 1.1,
    backBufferLength: 10,
    maxBufferLength: 20,
    manifestLoadPolicy: {default: once}, // the page tells the viewer and tries again itself
  });
  let recovered = false;
  hls.on(Hls.Events.FRAG_LOADED, (_, {frag}) => {
    facts.bytes += frag.stats.total || frag.stats.loaded;
  });
  hls.on(Hls.Events.BUFFER_CODECS, (_, tracks) => {
    for (const {codec, container} of Object.values(tracks)) {
      // MP3 has no codec's name of its own in some browsers, where its buffer is one of audio/mpeg.
      const found = codec ? codec.split(',') : codecsOfMime(container);
      Object.assign(facts.codecs, tracksOf(found));
    }
  });
  hls.on(Hls.Events.LEVEL_UPDATED, (_, {details}) => {
    if (!details.live) events.failed({kind: 'ended'});
  });
  hls.on(Hls.Events.ERROR, (_, data) => {
    if (data.details === Hls.ErrorDetails.BUFFER_ADD_CODEC_ERROR) {
      // It goes on without this one, if there is another.
      Object.assign(facts.refused, tracksOf(undecodable(codecsOfMime(data.mimeType ?? ''))));
      if (facts.refused.video) delete facts.codecs.video;
      if (facts.refused.audio) delete facts.codecs.audio;
    }
    if (!data.fatal) return;
    const failure = failureOf(data, Object.values(facts.refused));
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && failure.kind === 'decode' && !recovered) {
      recovered = true; // once an attempt: a new source buffer often helps
      hls.recoverMediaError();
      return;
    }
    events.failed(failure);
  });
  hls.attachMedia(video);
  hls.loadSource(url);
  return {
    get facts() {
      facts.latency = hls.latency > 0 ? hls.latency : undefined;
      return facts;
    },
    destroy: () => hls.destroy(),
  };
}
