import {Attempts, missingOf, type Missing} from './core/attempts';
import {Backoff, healthyAfterMs} from './core/backoff';
import type {Tracks} from './core/codec';
import {behindHole, bufferAhead, Rate, Stalls, type Range} from './core/meter';
import {explain, type Failure, type Problem} from './core/problem';
import {protocolsToTry, type Choice, type Protocol, type Target} from './core/target';
import {hasHls, hasMediaSource, loadEngine, type Engine} from './engine/engine';
import {probeTracks} from './engine/probe';

export type Phase = 'idle' | 'connecting' | 'playing' | 'buffering' | 'waiting' | 'failed';

export interface Stats {
  videoCodec?: string;
  audioCodec?: string;
  width: number;
  height: number;
  fps?: number;
  bitrate?: number; // bits a second, as received
  buffer: number; // seconds ahead
  latency?: number; // seconds behind the newest media
  dropped: number; // frames
  decoded: number; // frames
  stalls: number;
  stalledMs: number;
  reconnects: number; // after a picture was lost
  playedMs: number;
  currentTime: number;
}

export interface PlayerState {
  phase: Phase;
  stream: string;
  url: string;
  choice: Choice;
  protocol?: Protocol;
  /** Of the last attempt; it stands until there is a picture. */
  problem?: Problem;
  /** A track of the stream that does not play while another does. */
  missing?: Missing;
  retryAt?: number; // performance.now() of the next attempt
  /** The browser plays without sound only, until it is clicked. */
  soundBlocked: boolean;
  /** Not even that: a click has to start it. */
  playBlocked: boolean;
  muted: boolean;
  volume: number;
  stats: Stats;
}

const sampleEveryMs = 500;
const silentAfterMs = 12_000; // without progress: connect anew
const holeAfterMs = 1000; // stuck before a hole: go over it

const noStats = (): Stats => ({
  width: 0, height: 0, buffer: 0, dropped: 0, decoded: 0, stalls: 0, stalledMs: 0, reconnects: 0, playedMs: 0, currentTime: 0,
});

/**
 * Plays one stream at a time in a video element, attempt after attempt. Every attempt has an engine of its own; whatever ends one
 * is explained, and retried with growing delays if that may help.
 */
export class Player {
  state: PlayerState;
  private engine?: Engine;
  private attempt = 0; // what belongs to an older one is over
  private attempts = new Attempts([]);
  private probe?: {known?: Tracks; end: AbortController}; // of this attempt
  private target?: Target;
  private readonly backoff = new Backoff();
  private retryTimer?: number;
  private readonly sampler: number;
  private received = new Rate();
  private shown = new Rate();
  private stalls = new Stalls();
  private playingSince?: number;
  private progress = {at: 0, time: 0, end: 0};
  private framesBefore = {decoded: 0, dropped: 0}; // those of an element count on over attempts, in some browsers

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly changed: (state: PlayerState) => void,
  ) {
    this.state = {
      phase: 'idle', stream: '', url: '', choice: 'auto', soundBlocked: false, playBlocked: false,
      muted: video.muted, volume: video.volume, stats: noStats(),
    };
    video.addEventListener('playing', this.onPlaying);
    video.addEventListener('waiting', this.onWaiting);
    video.addEventListener('volumechange', this.onVolume);
    this.sampler = window.setInterval(this.sample, sampleEveryMs);
    window.addEventListener('online', this.onOnline);
  }

  dispose(): void {
    this.stop();
    window.clearInterval(this.sampler);
    window.removeEventListener('online', this.onOnline);
    this.video.removeEventListener('playing', this.onPlaying);
    this.video.removeEventListener('waiting', this.onWaiting);
    this.video.removeEventListener('volumechange', this.onVolume);
  }

  play(target: Target, choice: Choice): void {
    this.stop();
    this.target = target;
    this.attempts = new Attempts(protocolsToTry(choice, target, {mediaSource: hasMediaSource(), hls: hasHls()}));
    this.backoff.reset();
    this.stalls = new Stalls();
    this.framesBefore = this.frames();
    this.update({stream: target.name, choice, stats: noStats(), soundBlocked: false, problem: undefined});
    void this.connect();
  }

  stop(): void {
    this.endAttempt();
    this.update({phase: 'idle', problem: undefined, missing: undefined, retryAt: undefined, playBlocked: false});
  }

  retryNow(): void {
    if (!this.target) return;
    if (this.state.phase === 'failed') this.play(this.target, this.state.choice); // all protocols again
    else if (this.state.phase === 'waiting') void this.connect();
  }

  setMuted(muted: boolean): void {
    this.video.muted = muted;
    this.update({soundBlocked: false});
  }

  setVolume(volume: number): void {
    this.video.volume = Math.min(1, Math.max(0, volume));
    if (volume > 0) this.setMuted(false);
  }

  /** From what it is now, which the state tells a moment later. */
  changeVolume(by: number): void {
    this.setVolume((this.video.muted ? 0 : this.video.volume) + by);
  }

  /** After a click, where the browser wanted one. */
  resume(): void {
    this.update({playBlocked: false});
    this.start();
  }

  private update(change: Partial<PlayerState>): void {
    this.state = {...this.state, ...change};
    this.changed(this.state);
  }

  private endAttempt(): void {
    ++this.attempt;
    window.clearTimeout(this.retryTimer);
    this.stalls.end(performance.now());
    this.playingSince = undefined;
    this.engine?.destroy();
    this.engine = undefined;
    this.probe?.end.abort();
    this.probe = undefined;
  }

  private async connect(): Promise<void> {
    this.endAttempt();
    const mine = this.attempt;
    const {protocol} = this.attempts;
    const target = this.target;
    if (!target) return;
    if (!protocol) return this.fail({kind: 'unsupported'});
    const now = performance.now();
    this.progress = {at: now, time: 0, end: 0};
    this.received = new Rate();
    this.shown = new Rate();
    this.update({phase: 'connecting', protocol, url: target.url(protocol), retryAt: undefined, missing: undefined});
    const make = await loadEngine(protocol).catch(() => undefined);
    if (mine !== this.attempt) return;
    if (!make) return this.fail({kind: 'network'});
    this.engine = make(this.video, this.state.url, {
      failed: (failure) => {
        // Later, since an engine must not be destroyed from within its own call.
        window.setTimeout(() => mine === this.attempt && this.fail(failure), 0);
      },
    });
    this.start();
  }

  private start(): void {
    const mine = this.attempt;
    this.video.play().catch((error: DOMException) => {
      if (mine !== this.attempt || error.name !== 'NotAllowedError') return;
      if (this.video.muted) return this.update({playBlocked: true});
      this.video.muted = true;
      this.update({soundBlocked: true});
      this.start();
    });
  }

  private fail(failure: Failure): void {
    const protocol = this.state.protocol ?? 'hls';
    const had = this.playingSince !== undefined;
    const told = this.attempts.failed(failure, had);
    if (!told) return void this.connect();
    if (had && performance.now() - this.playingSince! >= healthyAfterMs) this.backoff.reset();
    this.endAttempt();
    const host = this.state.url ? new URL(this.state.url).host : 'the server';
    const problem = explain(told, this.state.stream, protocol, host);
    const delay = problem.retry ? this.backoff.next(Math.random()) : undefined;
    if (delay === undefined) {
      this.update({phase: 'failed', problem, missing: undefined, retryAt: undefined});
      if (told.kind === 'status' && told.status === 415) this.askForTracks((known) => this.update({problem: explain({...told, codecs: Object.values(known)}, this.state.stream, protocol, host)}));
      return;
    }
    this.retryTimer = window.setTimeout(() => void this.connect(), delay);
    const stats = {...this.state.stats, reconnects: this.state.stats.reconnects + (had ? 1 : 0)};
    this.update({phase: 'waiting', problem, missing: undefined, retryAt: performance.now() + delay, stats});
  }

  private onOnline = () => {
    if (this.state.phase === 'waiting') this.retryNow();
  };

  private onPlaying = () => {
    if (!this.engine) return;
    const now = performance.now();
    this.playingSince ??= now;
    this.stalls.end(now);
    this.update({phase: 'playing', problem: undefined, playBlocked: false});
    this.lookForMissing();
  };

  /** Whether all tracks of the stream play; goes on to the next protocol, or says so, if not. */
  private lookForMissing(): void {
    const {facts} = this.engine!;
    const missing = missingOf(this.probe?.known ?? this.attempts.known, facts.codecs, facts.refused);
    if (missing && this.attempts.misses()) return void this.connect();
    this.update({missing});
    if (!this.probe && this.state.protocol !== 'flv' && !facts.codecs.video !== !facts.codecs.audio)
      this.askForTracks();
  }

  /** TS and HLS leave out what they cannot carry: which tracks are there? */
  private askForTracks(then?: (known: Tracks) => void): void {
    const probe: Player['probe'] = {end: new AbortController()};
    this.probe = probe;
    void probeTracks(this.target!.url('flv'), probe.end.signal).then((known) => {
      if (probe !== this.probe || Object.keys(known).length === 0) return; // another attempt, or no answer
      probe.known = known;
      then?.(known);
    });
  }

  private onWaiting = () => {
    if (this.state.phase !== 'playing') return;
    this.stalls.begin(performance.now());
    this.update({phase: 'buffering'});
  };

  private onVolume = () => this.update({muted: this.video.muted, volume: this.video.volume});

  private frames(): {decoded: number; dropped: number} {
    const q = this.video.getVideoPlaybackQuality?.();
    return {decoded: q?.totalVideoFrames ?? 0, dropped: q?.droppedVideoFrames ?? 0};
  }

  private ranges(): Range[] {
    const b = this.video.buffered;
    return Array.from({length: b.length}, (_, i) => ({start: b.start(i), end: b.end(i)}));
  }

  private sample = () => {
    if (!this.engine) return;
    const now = performance.now();
    const ranges = this.ranges();
    this.watch(now, ranges);
    if (!this.engine) return; // it was found to be silent
    const {facts} = this.engine;
    const frames = this.frames();
    this.received.add(now, facts.bytes);
    this.shown.add(now, frames.decoded - frames.dropped);
    const last = ranges[ranges.length - 1];
    const buffer = bufferAhead(ranges, this.video.currentTime);
    if (frames.decoded < this.framesBefore.decoded) this.framesBefore = {decoded: 0, dropped: 0};
    const bytesPerSecond = this.received.perSecond();
    this.update({
      stats: {
        ...this.state.stats,
        videoCodec: facts.codecs.video,
        audioCodec: facts.codecs.audio,
        width: this.video.videoWidth,
        height: this.video.videoHeight,
        fps: this.shown.perSecond(),
        bitrate: bytesPerSecond && bytesPerSecond * 8,
        buffer,
        latency: facts.latency ?? (last && last.end - this.video.currentTime),
        decoded: frames.decoded - this.framesBefore.decoded,
        dropped: frames.dropped - this.framesBefore.dropped,
        stalls: this.stalls.count,
        stalledMs: Math.round(this.stalls.durationMs(now)),
        playedMs: this.playingSince === undefined ? 0 : now - this.playingSince,
        currentTime: this.video.currentTime,
      },
    });
    if (this.state.phase === 'playing') this.lookForMissing();
  };

  /** Goes over holes, and gives up a connection on which nothing has moved for long. */
  private watch(now: number, ranges: Range[]): void {
    const time = this.video.currentTime;
    const end = ranges[ranges.length - 1]?.end ?? 0;
    const idle = this.video.paused && this.state.playBlocked;
    if (idle || document.hidden || time !== this.progress.time) {
      this.progress = {at: now, time, end};
      return;
    }
    const over = behindHole(ranges, time);
    if (over !== undefined && now - this.progress.at >= holeAfterMs) {
      this.video.currentTime = over;
      return;
    }
    if (end !== this.progress.end) {
      if (this.video.paused) this.start(); // the browser paused it, for a call or a power saver
      this.progress.end = end;
    }
    if (now - this.progress.at >= silentAfterMs) this.fail({kind: 'silent', arrived: this.playingSince === undefined && this.engine!.facts.bytes > 0});
  }
}
