/** Drawn with the text's colour; what a control does is said by its label. */
const paths = {
  play: 'M8 5.2v13.6L19 12z',
  stop: 'M7 7h10v10H7z',
  sound: 'M4 9.5v5h3.5L12 18.5V5.5L7.5 9.5zM15 9.2a4 4 0 0 1 0 5.6M17.5 6.7a7.5 7.5 0 0 1 0 10.6',
  mute: 'M4 9.5v5h3.5L12 18.5V5.5L7.5 9.5zM15.5 9.5l5 5M20.5 9.5l-5 5',
  full: 'M4.5 9V4.5H9M15 4.5h4.5V9M19.5 15v4.5H15M9 19.5H4.5V15',
  link: 'M10 14a4 4 0 0 0 5.7 0l3-3a4 4 0 0 0-5.7-5.7l-.8.8M14 10a4 4 0 0 0-5.7 0l-3 3a4 4 0 0 0 5.7 5.7l.8-.8',
  cross: 'M7 7l10 10M17 7L7 17',
};

export function Icon({name}: {name: keyof typeof paths}) {
  const filled = name === 'play' || name === 'stop';
  return (
    <svg class={filled ? 'icon filled' : 'icon'} viewBox="0 0 24 24" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}

export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" />
      <path class="water" d="M6 12c3.5 0 3.5-3 7-3s3.5 3 7 3 3.5-3 6-3M6 23c3.5 0 3.5-3 7-3s3.5 3 7 3 3.5-3 6-3" />
      <path class="arrow" d="M13 12.5v7l6-3.5z" />
    </svg>
  );
}
