import {useLayoutEffect, useRef, useState} from 'preact/hooks';
import {commandOf, shortcuts, type KeyPress} from '../core/keys';
import {readLink, writeLink} from '../core/link';
import {addRecent, loadRecent, removeRecent, saveRecent, type Recent} from '../core/recent';
import {parseTarget, type Choice} from '../core/target';
import {Player, type PlayerState} from '../player';
import {RecentList, StreamForm} from './form';
import {Icon, Logo} from './icons';
import {Stage} from './stage';
import {StatsPanel} from './stats_panel';

declare global {
  interface Window {
    /** The player's state, for tests and for the browser's console. */
    __sluice?: {readonly state: PlayerState};
  }
}

const defaultStream = 'live/livestream';

function storage(): Pick<Storage, 'getItem' | 'setItem'> {
  try {
    return window.localStorage;
  } catch {
    return {getItem: () => null, setItem: () => {}}; // forbidden by the browser's settings
  }
}

function focusOf(element: Element | null): KeyPress['focus'] {
  if (element instanceof HTMLInputElement) return element.type === 'range' ? 'control' : 'text';
  if (element instanceof HTMLSelectElement || element instanceof HTMLTextAreaElement) return 'text';
  return element && element !== document.body && element.matches('button, a, summary') ? 'control' : 'page';
}

function toggleFullscreen(frame: HTMLElement, video: HTMLVideoElement): void {
  if (document.fullscreenElement) return void document.exitFullscreen();
  if (frame.requestFullscreen) return void frame.requestFullscreen().catch(() => {});
  (video as {webkitEnterFullscreen?: () => void}).webkitEnterFullscreen?.(); // iPhones: the video only
}

/** The field is behind a picture in full screen. */
function focusField(field: HTMLInputElement): void {
  const go = () => {
    field.focus();
    field.select();
  };
  if (document.fullscreenElement) void document.exitFullscreen().then(go, go);
  else go();
}

function CopyLink({link}: {link: string}) {
  const [copied, setCopied] = useState(false);
  if (!navigator.clipboard) return null; // only over https:// and on localhost
  const copy = () =>
    void navigator.clipboard.writeText(new URL(link, window.location.href).href).then(() => {
      setCopied(true);
      window.setTimeout(() => setCopied(false), 2000);
    });
  return (
    <button type="button" class="quiet copy" onClick={copy}>
      <Icon name="link" />
      <span aria-live="polite">{copied ? 'Copied' : 'Copy link'}</span>
    </button>
  );
}

export function App() {
  const [first] = useState(() => readLink(window.location.search));
  const [stream, setStream] = useState(first.stream);
  const [choice, setChoice] = useState<Choice>(first.choice);
  const [error, setError] = useState<string>();
  const [recent, setRecent] = useState<Recent[]>(() => loadRecent(storage()));
  const [state, setState] = useState<PlayerState>();
  const video = useRef<HTMLVideoElement>(null);
  const frame = useRef<HTMLDivElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const player = useRef<Player>();

  const remember = (list: Recent[]) => {
    setRecent(list);
    saveRecent(storage(), list);
  };

  const play = (text: string, by: Choice) => {
    const target = parseTarget(text, window.location.href);
    if (typeof target === 'string') {
      setError(target);
      field.current?.focus();
      return;
    }
    setError(undefined);
    setStream(target.name);
    remember(addRecent(loadRecent(storage()), {stream: target.name, choice: by}));
    const link = writeLink({stream: target.name, choice: by, autoplay: true, muted: first.muted});
    window.history.replaceState(null, '', link);
    document.title = `${target.name} – Sluice player`;
    player.current?.play(target, by);
  };

  const toggle = () => {
    const phase = player.current?.state.phase;
    if (phase === 'idle' || phase === 'failed') play(field.current?.value || defaultStream, choice);
    else player.current?.stop();
  };
  const mute = () => {
    const p = player.current;
    if (!p) return;
    if (p.state.volume === 0) p.setVolume(0.5);
    else p.setMuted(!p.state.muted);
  };
  const louder = (by: number) => player.current?.changeVolume(by);
  const fullscreen = () => frame.current && video.current && toggleFullscreen(frame.current, video.current);
  const actions = {
    toggle,
    mute,
    fullscreen,
    volume: (to: number) => player.current?.setVolume(to),
    retry: () => player.current?.retryNow(),
    resume: () => player.current?.resume(),
  };
  const commands = {
    toggle,
    mute,
    fullscreen,
    louder: () => louder(0.1),
    quieter: () => louder(-0.1),
    focus: () => focusField(field.current!),
  };
  const latest = useRef(commands);
  latest.current = commands;

  // Before the page can be seen, and so before a key can be pressed that needs the player.
  useLayoutEffect(() => {
    const element = video.current!;
    element.muted = first.muted;
    const p = new Player(element, setState);
    player.current = p;
    setState(p.state);
    window.__sluice = {
      get state() {
        return p.state;
      },
    };
    if (first.autoplay && first.stream) play(first.stream, first.choice);
    const onKey = (e: KeyboardEvent) => {
      const command = commandOf({key: e.key, modified: e.ctrlKey || e.altKey || e.metaKey, focus: focusOf(document.activeElement)});
      if (!command) return;
      e.preventDefault();
      latest.current[command]();
    };
    document.addEventListener('keydown', onKey);
    return () => {
      document.removeEventListener('keydown', onKey);
      p.dispose();
    };
  }, []);

  const shown = state ?? null;
  return (
    <>
      <header>
        <h1>
          <Logo />
          Sluice <span>player</span>
        </h1>
        <StreamForm
          stream={stream}
          choice={choice}
          error={error}
          field={field}
          onStream={(text) => {
            setStream(text);
            setError(undefined);
          }}
          onChoice={setChoice}
          onPlay={() => play(stream || defaultStream, choice)}
        />
      </header>
      <main>
        <Stage state={shown ?? emptyState} actions={actions} video={video} frame={frame} />
        <aside>
          <StatsPanel state={shown ?? emptyState} />
          <RecentList
            list={recent}
            onPick={(entry) => {
              setChoice(entry.choice);
              play(entry.stream, entry.choice);
            }}
            onRemove={(entry) => remember(removeRecent(recent, entry.stream))}
          />
        </aside>
        <footer>
          {shown && shown.phase !== 'idle' && (
            <p class="address">
              <code>{shown.url}</code>
              <CopyLink link={writeLink({stream: shown.stream, choice, autoplay: true, muted: false})} />
            </p>
          )}
          <p class="keys">
            <span class="keys-title">Keyboard</span>
            {shortcuts.map((s) => (
              <span key={s.what} class="key">
                {s.keys.map((k) => (
                  <kbd key={k}>{k}</kbd>
                ))}{' '}
                {s.what}
              </span>
            ))}
          </p>
        </footer>
      </main>
    </>
  );
}

/** Until the player exists, in the first moment of the page. */
const emptyState: PlayerState = {
  phase: 'idle',
  stream: '',
  url: '',
  choice: 'auto',
  soundBlocked: false,
  playBlocked: false,
  muted: false,
  volume: 1,
  stats: {width: 0, height: 0, buffer: 0, dropped: 0, decoded: 0, stalls: 0, stalledMs: 0, reconnects: 0, playedMs: 0, currentTime: 0},
};
