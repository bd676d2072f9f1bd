import mpegts from 'mpegts.js';
import {codecOfFlv, codecOfFourCc, codecsOfMime, tracksOf, type Tracks} from '../core/codec';
import type {Failure} from '../core/problem';
import {noFacts, undecodable, type Engine, type EngineEvents} from './engine';

mpegts.LoggingControl.applyConfig({enableAll: false, enableError: false});

/** The codec that its FLV demuxer does not know, out of its sentence: by FLV's number of it or by its FourCC. */
function unknownCodec(message: string): string[] {
  const [, place, name] = /(audio|video)[^:]*: (.+)$/.exec(message) ?? [];
  if (!place || !name) return [];
  const kind = place === 'audio' ? 'audio' : 'video';
  const codec = /^\d+$/.test(name) ? codecOfFlv(kind, Number(name)) : codecOfFourCc(name);
  return codec ? [codec] : [];
}

/** `info` is a sentence where the demuxer speaks. */
function failureOf(detail: string, info: {code?: number; msg?: string} | string | undefined): Failure {
  const message = typeof info === 'string' ? info : String(info?.msg ?? '');
  const d = mpegts.ErrorDetails;
  switch (detail) {
    case d.NETWORK_STATUS_CODE_INVALID:
      return {kind: 'status', status: (typeof info === 'object' && info.code) || 0};
    case d.NETWORK_UNRECOVERABLE_EARLY_EOF:
      return {kind: 'ended'};
    case d.MEDIA_FORMAT_ERROR:
    case d.MEDIA_FORMAT_UNSUPPORTED:
      return {kind: 'format'};
    case d.MEDIA_CODEC_UNSUPPORTED:
      return {kind: 'carriage', codecs: unknownCodec(message)};
    case d.MEDIA_MSE_ERROR:
      if (/not supported|isTypeSupported|addSourceBuffer/i.test(message)) return {kind: 'codec', codecs: undecodable(codecsOfMime(message))};
      return {kind: 'decode'};
    default:
      return {kind: 'network'};
  }
}

/**
 * The MIME types of the buffers that it has made. Its own MEDIA_INFO never comes for MPEG-TS with a single track, so this looks where mpegts.js
 * 1.8 keeps them.
 */
function bufferTypes(player: mpegts.Player): string[] {
  const inside = player as unknown as {_player_engine?: {_mse_controller?: {_mimeTypes?: Record<string, string | null>}}};
  return Object.values(inside._player_engine?._mse_controller?._mimeTypes ?? {}).filter((type) => typeof type === 'string');
}

export function mpegtsEngine(
  video: HTMLVideoElement,
  url: string,
  events: EngineEvents,
  protocol: 'flv' | 'ts',
): Engine {
  const facts = noFacts();
  if (!mpegts.isSupported()) {
    queueMicrotask(() => events.failed({kind: 'unsupported'}));
    return {facts, destroy: () => {}};
  }
  const player = mpegts.createPlayer(
    {type: protocol === 'flv' ? 'flv' : 'mpegts', isLive: true, url, cors: true},
    {
      enableWorker: false, // its worker is made of its own source text, which no bundler keeps
      enableStashBuffer: false, // every chunk is remuxed as it comes
      lazyLoad: false, // a live response is never paused
      autoCleanupSourceBuffer: true,
      autoCleanupMaxBackwardDuration: 30,
      autoCleanupMinBackwardDuration: 10,
      // A little late: play a little faster. Very late (the tab was hidden, the network stood): jump.
      liveSync: true,
      liveSyncMaxLatency: 1.5,
      liveSyncTargetLatency: 0.8,
      liveSyncPlaybackRate: 1.1,
      liveBufferLatencyChasing: true,
      liveBufferLatencyMaxLatency: 4,
      liveBufferLatencyMinRemain: 0.6,
      fixAudioTimestampGap: true,
      statisticsInfoReportInterval: 500,
    },
  );
  let reported = performance.now();
  player.on(mpegts.Events.STATISTICS_INFO, (info: {speed?: number}) => {
    // `speed` is the mean, in KB/s, since the last report.
    const now = performance.now();
    facts.bytes += ((info.speed ?? 0) * 1024 * (now - reported)) / 1000;
    reported = now;
  });
  let told: Tracks = {};
  player.on(mpegts.Events.MEDIA_INFO, (info: {videoCodec?: string; audioCodec?: string}) => {
    told = {video: info.videoCodec ?? told.video, audio: info.audioCodec ?? told.audio};
  });
  player.on(mpegts.Events.LOADING_COMPLETE, () => events.failed({kind: 'ended'}));
  player.on(mpegts.Events.ERROR, (_type: string, detail: string, info?: {code?: number; msg?: string} | string) =>
    events.failed(failureOf(detail, info)),
  );
  player.attachMediaElement(video);
  player.load();
  return {
    get facts() {
      // A buffer's type may say more than the stream has: AAC always gets one that could take HE-AAC.
      facts.codecs = tracksOf(bufferTypes(player).flatMap(codecsOfMime));
      for (const kind of ['video', 'audio'] as const) if (facts.codecs[kind] && told[kind]) facts.codecs[kind] = told[kind];
      return facts;
    },
    destroy: () => player.destroy(),
  };
}
