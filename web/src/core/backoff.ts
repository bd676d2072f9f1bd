/** When to try again: soon at first, then less often, and not for ever. Pure; `random` is in [0, 1). */

export const delayFirstMs = 500;
export const delayLastMs = 8000;
/** After this long without a picture it is left to the viewer. */
export const giveUpAfterMs = 15 * 60 * 1000;
/** A picture that lasted this long makes the next failure a first one. */
export const healthyAfterMs = 5000;

export class Backoff {
  private attempts = 0;
  private spentMs = 0;

  reset(): void {
    this.attempts = 0;
    this.spentMs = 0;
  }

  /** Milliseconds until the next attempt; nothing when it has been tried for long enough. */
  next(random: number): number | undefined {
    if (this.spentMs >= giveUpAfterMs) return undefined;
    const full = Math.min(delayLastMs, delayFirstMs * 2 ** Math.min(this.attempts, 10));
    const delay = Math.round(full * (0.75 + random / 2)); // viewers who lost the same server do not return in step
    ++this.attempts;
    this.spentMs += delay;
    return delay;
  }
}
