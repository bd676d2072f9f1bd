import Hls, {type ErrorData} from 'hls.js/light';
import type {Failure} from '../core/problem';
import type {Engine, EngineEvents, MediaFacts} from './engine';

export function hlsJsWorks(): boolean {
  return Hls.isSupported();
}

function failureOf(data: ErrorData): Failure {
  const status = data.response?.code ?? 0;
  switch (data.details) {
    case Hls.ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR:
    case Hls.ErrorDetails.BUFFER_ADD_CODEC_ERROR:
    case Hls.ErrorDetails.BUFFER_INCOMPATIBLE_CODECS_ERROR:
      return {kind: 'codec', codec: /codecs="?([^"';,]+)/i.exec(data.mimeType ?? data.error?.message ?? '')?.[1] ?? 'its codec'};
    case Hls.ErrorDetails.MANIFEST_PARSING_ERROR:
    case Hls.ErrorDetails.FRAG_PARSING_ERROR:
      return {kind: 'format'};
  }
  if (data.type === Hls.ErrorTypes.NETWORK_ERROR) return status >= 400 ? {kind: 'status', status} : {kind: 'network'};
  return {kind: 'decode'};
}

export function hlsEngine(video: HTMLVideoElement, url: string, events: EngineEvents): Engine {
  const facts: MediaFacts = {bytes: 0};
  const once = {maxTimeToFirstByteMs: 8000, maxLoadTimeMs: 15000, timeoutRetry: null, errorRetry: null};
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
    facts.videoCodec = tracks.video?.codec ?? facts.videoCodec;
    facts.audioCodec = tracks.audio?.codec ?? facts.audioCodec;
    if (tracks.audiovideo?.codec) [facts.videoCodec, facts.audioCodec] = tracks.audiovideo.codec.split(',');
  });
  hls.on(Hls.Events.LEVEL_UPDATED, (_, {details}) => {
    if (!details.live) events.failed({kind: 'ended'});
  });
  hls.on(Hls.Events.ERROR, (_, data) => {
    if (!data.fatal) return;
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && failureOf(data).kind === 'decode' && !recovered) {
      recovered = true; // once an attempt: a new source buffer often helps
      hls.recoverMediaError();
      return;
    }
    events.failed(failureOf(data));
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
