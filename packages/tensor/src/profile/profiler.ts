// Times every dispatch of every replay of a device's programs while it is on. Off, nothing of this runs.

import type { Device } from "../device.ts";
import type { TensorData } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import type { Launch } from "../launch.ts";
import type { Tensor } from "../tensor.ts";
import { launchCost } from "./cost.ts";
import { ProfileSums } from "./profile.ts";
import type { Profile } from "./profile.ts";
import { createTimingBuffers, ReplayTiming } from "./replay-timing.ts";
import type { TimingBuffers } from "./replay-timing.ts";
import { measureRoof } from "./roof.ts";
import type { Roof } from "./roof.ts";
import { Trace } from "./trace.ts";
import type { ChromeTrace } from "./trace.ts";

/** dispatches in a trace: about 10 MB of JSON */
const TRACED_DISPATCHES = 40_000;

export interface ProfilerOptions {
  /** milliseconds from any origin */
  readonly now: () => number;
  /** of this device, from an earlier profile; default: measured at the start, which takes about a second */
  readonly roof?: Roof | undefined;
}

/** A replay on its way to the GPU. */
export interface TimedReplay extends Pick<ReplayTiming, "beginPass" | "keepCounts" | "finish"> {
  /** Call it right after the submit. */
  submitted(): void;
}

/** What a profiler needs of a program. */
interface Profiled {
  readonly label: string;
  readonly plan: { readonly launches: readonly Launch[] };
  readonly inputs: ReadonlyMap<string, Tensor>;
}

export class Profiler {
  readonly roof: Roof;
  readonly #device: Device;
  readonly #now: () => number;
  readonly #sums: ProfileSums;
  readonly #trace = new Trace(TRACED_DISPATCHES);
  #untraced = 0;
  #buffers: TimingBuffers | undefined;
  /** readings of replays, each after the one before */
  #readings: Promise<void> = Promise.resolve();
  /** the first replay of a program that has not run again yet: it counts only if it stays the only one */
  readonly #first = new Map<Profiled, (counts: boolean) => void>();

  private constructor(device: Device, roof: Roof, now: () => number) {
    this.#device = device;
    this.#now = now;
    this.roof = roof;
    this.#sums = new ProfileSums(roof);
  }

  /**
   * Measures the device's roof, unless it is given, and switches profiling on.
   * @throws TensorError `PROFILER_UNAVAILABLE` where the GPU has no clock for programs (feature `timestamp-query`),
   *   `PROFILER_ACTIVE` where one is on
   */
  static async start(device: Device, { now, roof }: ProfilerOptions): Promise<Profiler> {
    if (!device.gpu.features.has("timestamp-query"))
      throw new TensorError("PROFILER_UNAVAILABLE", "this GPU cannot tell when a dispatch began and ended", {
        expected: "the WebGPU feature timestamp-query",
        received: [...device.gpu.features].sort().join(", "),
        fix: "profile on another device (--device), or time whole steps: `timing` in metrics.jsonl needs no profiler",
      });
    if (device.profiler) throw new TensorError("PROFILER_ACTIVE", "the device is being profiled already");
    const profiler = new Profiler(device, roof ?? (await measureRoof(device, now)), now);
    device.profiler = profiler;
    return profiler;
  }

  /** Called by a program at each replay. */
  replay(program: Profiled, values: Readonly<Record<string, TensorData>>): TimedReplay {
    const { launches } = program.plan;
    const begin = this.#now();
    if (!this.#buffers || this.#buffers.launches < launches.length) {
      this.#release();
      this.#buffers = createTimingBuffers(this.#device, launches.length);
    }
    const timing = new ReplayTiming(this.#device, launches, this.#buffers);
    const valuesOf = inputValues(program, values);
    const whole = launches.map((launch) => launchCost(launch, valuesOf));
    return {
      beginPass: (encoder, at) => timing.beginPass(encoder, at),
      keepCounts: (encoder, at, counts, offset) => timing.keepCounts(encoder, at, counts, offset),
      finish: (encoder) => timing.finish(encoder),
      submitted: () => {
        const host = { begin, end: this.#now() };
        const reading = timing.read();
        this.#readings = this.#readings.then(async () => {
          const times = await reading;
          const costs = whole.map(({ flops, bytes }, i) => ({
            flops: flops * times.share[i]!,
            bytes: bytes * times.share[i]!,
          }));
          const add = (counts: boolean): void => {
            this.#sums.add(program.label, launches, times, costs, counts);
            if (counts && !this.#trace.add(program.label, launches, times, costs, host)) this.#untraced++;
          };
          if (!this.#first.has(program)) return void this.#first.set(program, add);
          this.#first.get(program)!(false);
          this.#first.set(program, () => {});
          add(true);
        });
        for (const promise of [reading, this.#readings]) promise.catch(() => {}); // `stop` throws it
      },
    };
  }

  /** Switches profiling off and waits for what is on its way. */
  async stop(): Promise<{ profile: Profile; trace: ChromeTrace }> {
    this.#device.profiler = undefined;
    try {
      await this.#readings;
    } finally {
      this.#release();
    }
    for (const add of this.#first.values()) add(true);
    const { vendor, architecture, description } = this.#device.facts;
    const name = description || [vendor, architecture].filter(Boolean).join(" ");
    return { profile: this.#sums.result(name, this.#untraced), trace: this.#trace.result(name) };
  }

  #release(): void {
    if (!this.#buffers) return;
    for (const set of this.#buffers.sets) set.destroy();
    this.#device.destroyBuffer(this.#buffers.stamps, "staging");
    this.#buffers = undefined;
  }
}

/** Finds the host values of tensors that are inputs of a program. */
function inputValues(
  { inputs }: Profiled,
  values: Readonly<Record<string, TensorData>>,
): (tensor: Tensor) => TensorData | undefined {
  const byStorage = new Map([...inputs].map(([name, tensor]) => [tensor.storage, values[name]] as const));
  return ({ storage }) => byStorage.get(storage);
}
