/** Figures as text. `–` stands for what is not known. Pure. */
const none = '–';

export function bits(perSecond: number | undefined): string {
  if (perSecond === undefined || !Number.isFinite(perSecond)) return none;
  if (perSecond >= 1e6) return `${(perSecond / 1e6).toFixed(2)} Mbit/s`;
  return `${Math.round(perSecond / 1e3)} kbit/s`;
}

export function seconds(s: number | undefined): string {
  return s === undefined || !Number.isFinite(s) ? none : `${Math.max(0, s).toFixed(s < 10 ? 2 : 1)} s`;
}

export function frames(perSecond: number | undefined): string {
  return perSecond === undefined || !Number.isFinite(perSecond) ? none : `${perSecond.toFixed(perSecond < 10 ? 1 : 0)} fps`;
}

export function size(width: number, height: number): string {
  return width > 0 && height > 0 ? `${width} × ${height}` : none;
}

export function duration(ms: number): string {
  const s = Math.floor(ms / 1000);
  const two = (n: number) => String(n).padStart(2, '0');
  const hours = Math.floor(s / 3600);
  return `${hours > 0 ? `${hours}:` : ''}${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}
