/** The streams that were played here last, in the browser's local storage (which may be absent, full or forbidden). */
import {isChoice, type Choice} from './target';

export interface Recent {
  stream: string;
  choice: Choice;
}

export const recentMax = 8;
const key = 'sluice.recent';

type Store = Pick<Storage, 'getItem' | 'setItem'>;

export function loadRecent(store: Store): Recent[] {
  try {
    const value: unknown = JSON.parse(store.getItem(key) ?? '[]');
    if (!Array.isArray(value)) return [];
    return value
      .filter((e): e is Recent => typeof e?.stream === 'string' && e.stream.length <= 2048 && isChoice(e.choice ?? null))
      .map(({stream, choice}) => ({stream, choice}))
      .slice(0, recentMax);
  } catch {
    return [];
  }
}

export function saveRecent(store: Store, list: Recent[]): void {
  try {
    store.setItem(key, JSON.stringify(list));
  } catch {
    // Private windows have no room; the list then lasts as long as the page.
  }
}

/** With `entry` first, and each stream once. */
export function addRecent(list: Recent[], entry: Recent): Recent[] {
  return [entry, ...list.filter((e) => e.stream !== entry.stream)].slice(0, recentMax);
}

export function removeRecent(list: Recent[], stream: string): Recent[] {
  return list.filter((e) => e.stream !== stream);
}
