import {codecName} from '../core/codec';
import {bits, duration, frames, seconds, size} from '../core/format';
import {protocolNames} from '../core/target';
import type {PlayerState} from '../player';

function codec(text: string | undefined) {
  if (!text) return '–';
  const name = codecName(text);
  if (name === text) return text;
  return (
    <>
      {name} <span class="fine">{text}</span>
    </>
  );
}

/** The live figures. Not a live region: it would never be silent. */
export function StatsPanel({state}: {state: PlayerState}) {
  const s = state.stats;
  const on = state.phase === 'playing' || state.phase === 'buffering';
  const rows: [string, preact.ComponentChildren, string?][] = [
    ['Video', codec(s.videoCodec)],
    ['Audio', codec(s.audioCodec)],
    ['Resolution', size(s.width, s.height)],
    ['Frame rate', frames(on && s.width > 0 ? s.fps : undefined)],
    ['Bitrate', bits(on ? s.bitrate : undefined)],
    ['Buffer', on ? seconds(s.buffer) : '–', 'Media that is here and not played yet'],
    ['Latency', on ? seconds(s.latency) : '–', 'Behind the newest media that the server has sent'],
    ['Dropped frames', s.decoded > 0 ? `${s.dropped} of ${s.decoded}` : '–'],
    ['Stalls', s.stalls > 0 ? `${s.stalls} (${seconds(s.stalledMs / 1000)})` : String(s.stalls)],
    ['Reconnects', String(s.reconnects)],
    ['Playing for', s.playedMs > 0 ? duration(s.playedMs) : '–'],
    ['Protocol', state.protocol && state.phase !== 'idle' ? protocolNames[state.protocol] : '–'],
  ];
  return (
    <section class="card stats" aria-labelledby="stats-title">
      <h2 id="stats-title">Stream</h2>
      <dl>
        {rows.map(([name, value, title]) => (
          <div key={name} title={title}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
