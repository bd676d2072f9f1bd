import type {RefObject} from 'preact';
import {protocolNames, type Choice, type Protocol} from '../core/target';
import type {Recent} from '../core/recent';
import {Icon} from './icons';

interface FormProps {
  stream: string;
  choice: Choice;
  error?: string;
  field: RefObject<HTMLInputElement>;
  onStream(text: string): void;
  onChoice(choice: Choice): void;
  onPlay(): void;
}

export function StreamForm({stream, choice, error, field, onStream, onChoice, onPlay}: FormProps) {
  return (
    <form
      class="ask"
      onSubmit={(e) => {
        e.preventDefault();
        onPlay();
      }}
    >
      <div class="field grow">
        <label for="stream">Stream or address</label>
        <input
          id="stream"
          ref={field}
          type="text"
          inputMode="url"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          placeholder="live/livestream"
          value={stream}
          aria-invalid={error !== undefined}
          aria-describedby={error ? 'stream-error' : undefined}
          aria-keyshortcuts="/"
          onInput={(e) => onStream(e.currentTarget.value)}
        />
        {error && (
          <p id="stream-error" class="field-error" role="alert">
            {error}
          </p>
        )}
      </div>
      <div class="field">
        <label for="protocol">Protocol</label>
        <select id="protocol" value={choice} onChange={(e) => onChoice(e.currentTarget.value as Choice)}>
          <option value="auto">Automatic</option>
          {(Object.keys(protocolNames) as Protocol[]).map((p) => (
            <option key={p} value={p}>
              {protocolNames[p]}
            </option>
          ))}
        </select>
      </div>
      <button type="submit" class="primary">
        <Icon name="play" />
        Play
      </button>
    </form>
  );
}

interface RecentProps {
  list: Recent[];
  onPick(entry: Recent): void;
  onRemove(entry: Recent): void;
}

export function RecentList({list, onPick, onRemove}: RecentProps) {
  return (
    <section class="card recent" aria-labelledby="recent-title">
      <h2 id="recent-title">Recent streams</h2>
      {list.length === 0 && <p class="fine">What you play is listed here, in this browser only.</p>}
      <ul>
        {list.map((entry) => (
          <li key={entry.stream}>
            <button type="button" class="pick" onClick={() => onPick(entry)} title={entry.stream}>
              {entry.stream}
              {entry.choice !== 'auto' && <span class="fine"> {protocolNames[entry.choice]}</span>}
            </button>
            <button type="button" class="remove" aria-label={`Remove ${entry.stream} from the list`} onClick={() => onRemove(entry)}>
              <Icon name="cross" />
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
