// A profile as data: what profile.json holds. Times in seconds, work in FLOPs and bytes.

import type { Launch } from "../launch.ts";
import { unpackParams } from "../kernel.ts";
import type { DispatchTimes } from "./replay-timing.ts";
import type { Roof } from "./roof.ts";

/** What dispatches of one kind did, summed over all timed replays. */
export interface Work {
  readonly launches: number;
  readonly seconds: number;
  readonly flops: number;
  readonly bytes: number;
  /** of the seconds of all dispatches */
  readonly time_share: number;
  /** least time that the roof allows for this work, over the time it took */
  readonly roof_share: number;
}

/** Dispatches of one kernel with one specialization and one set of parameters. */
export interface ShapeProfile extends Work {
  readonly spec: Readonly<Record<string, string | number | boolean>>;
  readonly params: Readonly<Record<string, number>>;
}

export interface KernelProfile extends Work {
  readonly kernel: string;
  /** slowest first */
  readonly shapes: readonly ShapeProfile[];
}

export interface ProgramProfile {
  readonly program: string;
  readonly launches: number;
  /** replays that count: all but the first, which compiles, unless there was only one */
  readonly replays: number;
  /** the first replay, by the GPU's clock */
  readonly first_seconds: number;
  /** from the first dispatch to the end of the last, summed over the replays that count */
  readonly seconds: number;
}

export interface Profile {
  readonly device: string;
  readonly roof: Roof;
  readonly seconds: number;
  readonly flops: number;
  readonly bytes: number;
  readonly programs: readonly ProgramProfile[];
  /** slowest first */
  readonly kernels: readonly KernelProfile[];
  /** replays that are in no trace because it was full */
  readonly untraced_replays: number;
}

interface Sum {
  launches: number;
  seconds: number;
  flops: number;
  bytes: number;
  /** Σ of the least times that the roof allows */
  least: number;
}
const zero = (): Sum => ({ launches: 0, seconds: 0, flops: 0, bytes: 0, least: 0 });

interface Shape extends Sum {
  readonly spec: ShapeProfile["spec"];
  readonly params: ShapeProfile["params"];
}

/** Sums up timed replays of programs. */
export class ProfileSums {
  readonly #roof: Roof;
  readonly #programs = new Map<string, { launches: number; replays: number; first: number; seconds: number }>();
  readonly #kernels = new Map<string, { sum: Sum; shapes: Map<string, Shape> }>();

  constructor(roof: Roof) {
    this.#roof = roof;
  }

  /**
   * @param counts - false for the first of several replays, which compiles
   * @param costs - FLOPs and bytes of each launch
   */
  add(
    program: string,
    launches: readonly Launch[],
    times: DispatchTimes,
    costs: readonly { readonly flops: number; readonly bytes: number }[],
    counts: boolean,
  ): void {
    const seconds = (times.end.at(-1)! - times.begin[0]!) / 1e9;
    const seen = this.#programs.get(program) ?? { launches: launches.length, replays: 0, first: seconds, seconds: 0 };
    this.#programs.set(program, seen);
    if (!counts) return;
    seen.replays++;
    seen.seconds += seconds;
    for (const [i, { variant, params }] of launches.entries()) {
      const { kernel, spec, label } = variant;
      let known = this.#kernels.get(kernel.label);
      if (!known) this.#kernels.set(kernel.label, (known = { sum: zero(), shapes: new Map() }));
      const key = `${label}(${params.join(",")})`;
      let shape = known.shapes.get(key);
      if (!shape) known.shapes.set(key, (shape = { ...zero(), spec, params: unpackParams(kernel, params) }));
      for (const sum of [known.sum, shape]) this.#addTo(sum, (times.end[i]! - times.begin[i]!) / 1e9, costs[i]!);
    }
  }

  #addTo(sum: Sum, seconds: number, { flops, bytes }: { readonly flops: number; readonly bytes: number }): void {
    sum.launches++;
    sum.seconds += seconds;
    sum.flops += flops;
    sum.bytes += bytes;
    sum.least += Math.max(flops / this.#roof.matmul_flops_per_second, bytes / this.#roof.copy_bytes_per_second);
  }

  result(device: string, untracedReplays: number): Profile {
    const all = zero();
    for (const { sum } of this.#kernels.values())
      for (const key of Object.keys(all) as (keyof Sum)[]) all[key] += sum[key];
    const work = ({ launches, seconds, flops, bytes, least }: Sum): Work => ({
      launches,
      seconds,
      flops,
      bytes,
      time_share: all.seconds > 0 ? seconds / all.seconds : 0,
      roof_share: seconds > 0 ? least / seconds : 0,
    });
    const slowestFirst = (a: Work, b: Work): number => b.seconds - a.seconds;
    return {
      device,
      roof: this.#roof,
      seconds: all.seconds,
      flops: all.flops,
      bytes: all.bytes,
      programs: [...this.#programs].map(([program, { launches, replays, first, seconds }]) => ({
        program,
        launches,
        replays,
        first_seconds: first,
        seconds,
      })),
      kernels: [...this.#kernels]
        .map(([kernel, { sum, shapes }]) => ({
          kernel,
          ...work(sum),
          shapes: [...shapes.values()]
            .map((shape) => ({ spec: shape.spec, params: shape.params, ...work(shape) }))
            .sort(slowestFirst),
        }))
        .sort(slowestFirst),
      untraced_replays: untracedReplays,
    };
  }
}
