/** Figures about a playing stream, made of samples. Pure: the time is an argument, in milliseconds. */

/** How much a growing count grew, a second, over the last `windowMs`. */
export class Rate {
  private samples: {at: number; value: number}[] = [];
  constructor(private readonly windowMs = 3000) {}

  add(at: number, value: number): void {
    const last = this.samples[this.samples.length - 1];
    if (last && (value < last.value || at <= last.at)) this.samples = []; // another player counts from zero
    this.samples.push({at, value});
    while (this.samples.length > 2 && at - this.samples[1]!.at >= this.windowMs) this.samples.shift();
  }

  perSecond(): number | undefined {
    const first = this.samples[0];
    const last = this.samples[this.samples.length - 1];
    if (!first || !last || last.at - first.at < 500) return undefined;
    return ((last.value - first.value) * 1000) / (last.at - first.at);
  }
}

export interface Range {
  start: number;
  end: number;
}

/** Seconds that can be played from `time` on without a hole. */
export function bufferAhead(ranges: Range[], time: number): number {
  const slack = 0.1; // browsers play over holes as short as this
  let end = time;
  for (const r of ranges) if (r.start <= end + slack && r.end > end) end = r.end;
  return end - time;
}

/** Where to go when playback stands still before a hole; nothing if there is nothing behind it. */
export function behindHole(ranges: Range[], time: number): number | undefined {
  if (bufferAhead(ranges, time) > 0.1) return undefined;
  const next = ranges.find((r) => r.start > time + 0.05);
  return next && next.start + 0.01;
}

/** Counts the moments when a picture that had begun stood still, and for how long. */
export class Stalls {
  count = 0;
  private totalMs = 0;
  private since?: number;

  begin(at: number): void {
    if (this.since !== undefined) return;
    this.since = at;
    ++this.count;
  }
  end(at: number): void {
    if (this.since === undefined) return;
    this.totalMs += at - this.since;
    this.since = undefined;
  }
  durationMs(at: number): number {
    return this.totalMs + (this.since === undefined ? 0 : at - this.since);
  }
}
