// Replays as a Chrome trace, which Perfetto (ui.perfetto.dev) and chrome://tracing open.
// Format: "Trace Event Format", Duncan & Eads 2016; complete events (ph "X") and metadata (ph "M"), times in microseconds.

import type { Launch } from "../launch.ts";
import type { DispatchTimes } from "./replay-timing.ts";

/** One event of the JSON object format. */
export interface TraceEvent {
  readonly name: string;
  readonly ph: "X" | "M";
  readonly pid: number;
  readonly tid: number;
  readonly cat?: string;
  /** microseconds */
  readonly ts?: number;
  readonly dur?: number;
  readonly args?: Readonly<Record<string, string | number>>;
}

export interface ChromeTrace {
  readonly displayTimeUnit: "ms";
  readonly traceEvents: readonly TraceEvent[];
}

const PID = 1;
/** dispatches, programs by the GPU's clock, and what the host did to submit them */
const TRACKS = { dispatches: 1, programs: 2, host: 3 } as const;

export class Trace {
  readonly #events: TraceEvent[] = [];
  /** what to add to the GPU's nanoseconds to get the host's: the two clocks share no origin */
  #offset: number | undefined;
  readonly #most: number;

  /** @param most - dispatches to keep; a replay is kept whole or not at all */
  constructor(most: number) {
    this.#most = most;
  }

  /**
   * Adds a replay; false where it is full.
   * @param host - when the host began and ended encoding and submitting it, milliseconds
   */
  add(
    program: string,
    launches: readonly Launch[],
    times: DispatchTimes,
    costs: readonly { readonly flops: number; readonly bytes: number }[],
    host: { readonly begin: number; readonly end: number },
  ): boolean {
    if (this.#events.length + launches.length > this.#most) return false;
    // the first replay starts when it was submitted, at the earliest: the tracks are that far apart at least
    this.#offset ??= host.end * 1e6 - times.begin[0]!;
    const micros = (nanoseconds: number): number => (nanoseconds + this.#offset!) / 1e3;
    const complete = (
      track: keyof typeof TRACKS,
      name: string,
      [begin, end]: readonly [number, number],
      args: Readonly<Record<string, string | number>>,
    ): void => {
      this.#events.push({
        name,
        cat: track,
        ph: "X",
        pid: PID,
        tid: TRACKS[track],
        ts: begin,
        dur: Math.max(0, end - begin),
        args,
      });
    };
    complete("host", program, [host.begin * 1e3, host.end * 1e3], {});
    complete("programs", program, [micros(times.begin[0]!), micros(times.end.at(-1)!)], {});
    for (const [i, { variant, groups }] of launches.entries())
      complete("dispatches", variant.kernel.label, [micros(times.begin[i]!), micros(times.end[i]!)], {
        ...costs[i]!,
        variant: variant.label,
        workgroups: Math.round(groups[0] * groups[1] * times.share[i]!),
      });
    return true;
  }

  result(device: string): ChromeTrace {
    const named = (name: string, tid: number, value: string): TraceEvent => ({
      name,
      ph: "M",
      pid: PID,
      tid,
      args: { name: value },
    });
    return {
      displayTimeUnit: "ms",
      traceEvents: [
        named("process_name", 0, device),
        ...Object.entries(TRACKS).map(([track, tid]) => named("thread_name", tid, track)),
        ...this.#events,
      ],
    };
  }
}
