import mpegts from 'mpegts.js';
import type {Failure} from '../core/problem';
import type {Engine, EngineEvents, MediaFacts} from './engine';

mpegts.LoggingControl.applyConfig({enableAll: false, enableError: false});

/** The MIME type's codecs= part that the browser refused, out of the error that MSE raised. */
function refusedCodec(message: string): string {
  return /codecs="?([^"';,]+)/i.exec(message)?.[1] ?? '';
}

function failureOf(detail: string, info: {code?: number; msg?: string} | undefined, facts: MediaFacts): Failure {
  const d = mpegts.ErrorDetails;
  switch (detail) {
    case d.NETWORK_STATUS_CODE_INVALID:
      return {kind: 'status', status: info?.code ?? 0};
    case d.NETWORK_UNRECOVERABLE_EARLY_EOF:
      return {kind: 'ended'};
    case d.MEDIA_FORMAT_ERROR:
    case d.MEDIA_FORMAT_UNSUPPORTED:
      return {kind: 'format'};
    case d.MEDIA_CODEC_UNSUPPORTED:
      return {kind: 'codec', codec: info?.msg?.replace(/^.*codec[^:]*:\s*/i, '') || facts.videoCodec || 'its codec'};
    case d.MEDIA_MSE_ERROR: {
      const message = String(info?.msg ?? '');
      if (/not supported|isTypeSupported|addSourceBuffer/i.test(message))
        return {kind: 'codec', codec: refusedCodec(message) || facts.videoCodec || 'its codec'};
      return {kind: 'decode'};
    }
    default:
      return {kind: 'network'};
  }
}

export function mpegtsEngine(
  video: HTMLVideoElement,
  url: string,
  events: EngineEvents,
  protocol: 'flv' | 'ts',
): Engine {
  const facts: MediaFacts = {bytes: 0};
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
  player.on(mpegts.Events.MEDIA_INFO, (info: {videoCodec?: string; audioCodec?: string}) => {
    facts.videoCodec = info.videoCodec ?? facts.videoCodec;
    facts.audioCodec = info.audioCodec ?? facts.audioCodec;
  });
  player.on(mpegts.Events.LOADING_COMPLETE, () => events.failed({kind: 'ended'}));
  player.on(mpegts.Events.ERROR, (_type: string, detail: string, info?: {code?: number; msg?: string}) =>
    events.failed(failureOf(detail, info, facts)),
  );
  player.attachMediaElement(video);
  player.load();
  return {facts, destroy: () => player.destroy()};
}
