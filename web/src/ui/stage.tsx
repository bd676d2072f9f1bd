import type {RefObject} from 'preact';
import {useEffect, useState} from 'preact/hooks';
import {explainMissing} from '../core/problem';
import type {PlayerState} from '../player';
import {Icon} from './icons';

export interface StageActions {
  toggle(): void;
  mute(): void;
  volume(to: number): void;
  fullscreen(): void;
  retry(): void;
  resume(): void;
}

/** One line on what is going on; also read out by screen readers when it changes. */
export function statusText(state: PlayerState): string {
  const {phase, stream} = state;
  switch (phase) {
    case 'idle':
      return 'Stopped';
    case 'connecting':
      return state.problem?.title ?? `Connecting to ${stream}`;
    case 'playing':
      return `Playing ${stream}${state.missing ? (state.missing.kind === 'video' ? ' without a picture' : ' without sound') : ''}`;
    case 'buffering':
      return 'Waiting for data';
    case 'waiting':
    case 'failed':
      return state.problem?.title ?? '';
  }
}

function Countdown({until}: {until: number}) {
  const [now, setNow] = useState(performance.now());
  useEffect(() => {
    const timer = window.setInterval(() => setNow(performance.now()), 250);
    return () => window.clearInterval(timer);
  }, []);
  return <>Trying again in {Math.max(0, Math.ceil((until - now) / 1000))} s</>;
}

function Overlay({state, actions}: {state: PlayerState; actions: StageActions}) {
  if (state.problem && ['waiting', 'failed', 'connecting'].includes(state.phase))
    return (
      <div class="overlay problem">
        <p class="title">{state.problem.title}</p>
        <p>{state.problem.hint}</p>
        <p class="next">
          {state.phase !== 'failed' && (
            <span aria-hidden="true">{state.retryAt === undefined ? 'Trying again …' : <Countdown until={state.retryAt} />}</span>
          )}
          <button type="button" class="quiet" onClick={actions.retry}>
            Try now
          </button>
        </p>
      </div>
    );
  if (state.playBlocked)
    return (
      <div class="overlay">
        <button type="button" class="big" onClick={actions.resume}>
          <Icon name="play" />
          <span>Play</span>
        </button>
      </div>
    );
  if (state.phase === 'connecting' || state.phase === 'buffering')
    return (
      <div class="overlay">
        <div class="spinner" />
        <p>{statusText(state)} …</p>
      </div>
    );
  if (state.phase === 'idle')
    return (
      <div class="overlay">
        <button type="button" class="big" onClick={actions.toggle}>
          <Icon name="play" />
          <span>Play</span>
        </button>
      </div>
    );
  return null;
}

/** Why there is no picture, or no sound, while the rest plays. */
function Notice({state}: {state: PlayerState}) {
  const {missing, protocol, stats} = state;
  if (state.phase !== 'playing' || !protocol) return null;
  if (missing) {
    const {title, hint} = explainMissing(missing, protocol, state.choice);
    return (
      <p class={`notice ${missing.kind}`} role="status">
        <strong>{title}</strong> {hint}
      </p>
    );
  }
  return stats.audioCodec && !stats.videoCodec ? <p class="notice video">This stream is sound only.</p> : null;
}

interface Props {
  state: PlayerState;
  actions: StageActions;
  video: RefObject<HTMLVideoElement>;
  frame: RefObject<HTMLDivElement>;
}

/** The picture, what lies over it, and its controls. */
export function Stage({state, actions, video, frame}: Props) {
  const active = state.phase !== 'idle' && state.phase !== 'failed';
  const silent = state.muted || state.volume === 0;
  return (
    <section class="stage" aria-label="Player" ref={frame}>
      <div class="picture">
        <video ref={video} playsInline disableRemotePlayback aria-label={state.stream ? `Live video of ${state.stream}` : 'Live video'} />
        <Overlay state={state} actions={actions} />
        <Notice state={state} />
        {state.soundBlocked && state.phase === 'playing' && (
          <button type="button" class="unmute" onClick={actions.mute}>
            <Icon name="mute" />
            Turn the sound on
          </button>
        )}
      </div>
      <div class="controls">
        <button type="button" onClick={actions.toggle} aria-keyshortcuts="k Space">
          <Icon name={active ? 'stop' : 'play'} />
          <span>{active ? 'Stop' : 'Play'}</span>
        </button>
        <button type="button" onClick={actions.mute} aria-pressed={silent} aria-label="Mute" title="Mute (M)" aria-keyshortcuts="m">
          <Icon name={silent ? 'mute' : 'sound'} />
        </button>
        <input
          class="volume"
          type="range"
          min="0"
          max="1"
          step="0.05"
          aria-label="Volume"
          value={state.muted ? 0 : state.volume}
          onInput={(e) => actions.volume(Number(e.currentTarget.value))}
        />
        <p class={`status ${state.phase}`} role="status">
          <span class="dot" aria-hidden="true" />
          <span class="text">{statusText(state)}</span>
        </p>
        <button type="button" onClick={actions.fullscreen} aria-label="Full screen" title="Full screen (F)" aria-keyshortcuts="f">
          <Icon name="full" />
        </button>
      </div>
    </section>
  );
}
