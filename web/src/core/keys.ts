/** The keyboard. Pure: from a key to what it does. */
export type Command = 'toggle' | 'mute' | 'fullscreen' | 'louder' | 'quieter' | 'focus';

export const shortcuts: {keys: string[]; what: string}[] = [
  {keys: ['K', 'Space'], what: 'Play or stop'},
  {keys: ['M'], what: 'Sound on or off'},
  {keys: ['+', '−'], what: 'Louder, quieter'},
  {keys: ['F'], what: 'Full screen'},
  {keys: ['/'], what: 'Go to the stream field'},
];

export interface KeyPress {
  key: string;
  modified: boolean; // with Ctrl, Alt or Meta: the browser's own
  /** Where the focus is: a field takes all keys, a control its own ones. */
  focus: 'text' | 'control' | 'page';
}

export function commandOf(press: KeyPress): Command | undefined {
  if (press.modified || press.focus === 'text') return undefined;
  switch (press.key) {
    case ' ':
      return press.focus === 'page' ? 'toggle' : undefined;
    case 'k':
    case 'K':
      return 'toggle';
    case 'm':
    case 'M':
      return 'mute';
    case 'f':
    case 'F':
      return 'fullscreen';
    case '+':
    case '=':
      return 'louder';
    case '-':
      return 'quieter';
    case '/':
      return 'focus';
    default:
      return undefined;
  }
}
