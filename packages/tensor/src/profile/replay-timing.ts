// A clock around every dispatch of one replay: each runs in a pass of its own whose beginning and end the GPU stamps.
// Kernels, order and memory are those of an ordinary replay, so results are the same bits.

import type { Device } from "../device.ts";
import { USAGE } from "../device.ts";
import { mapForRead } from "../eager.ts";
import type { Launch } from "../launch.ts";

const QUERY_RESOLVE = 0x200; // GPUBufferUsage.QUERY_RESOLVE
/** the most that WebGPU promises for one query set */
const QUERIES_PER_SET = 4096;
const STAMP_BYTES = 8;
/** x, y, z and padding */
const COUNTS_BYTES = 16;

/** Query sets and buffers for programs of up to a number of launches; one replay after the other may use them. */
export interface TimingBuffers {
  readonly launches: number;
  readonly sets: readonly GPUQuerySet[];
  readonly stamps: GPUBuffer;
}

export function createTimingBuffers(device: Device, launches: number): TimingBuffers {
  const count = Math.ceil((2 * launches) / QUERIES_PER_SET);
  return {
    launches,
    sets: Array.from({ length: count }, () =>
      device.gpu.createQuerySet({ label: "profile", type: "timestamp", count: QUERIES_PER_SET }),
    ),
    stamps: device.createBuffer(
      count * QUERIES_PER_SET * STAMP_BYTES,
      QUERY_RESOLVE | USAGE.copySrc,
      "staging",
      "profile",
    ),
  };
}

/** When each dispatch began and ended, in nanoseconds of the GPU's clock, and which part of its workgroups ran. */
export interface DispatchTimes {
  readonly begin: Float64Array;
  readonly end: Float64Array;
  readonly share: Float64Array;
}

/** The stamps of one replay. */
export class ReplayTiming {
  readonly #device: Device;
  readonly #launches: readonly Launch[];
  readonly #buffers: TimingBuffers;
  readonly #staging: GPUBuffer;

  constructor(device: Device, launches: readonly Launch[], buffers: TimingBuffers) {
    this.#device = device;
    this.#launches = launches;
    this.#buffers = buffers;
    const bytes = launches.length * (2 * STAMP_BYTES + COUNTS_BYTES);
    this.#staging = device.createBuffer(bytes, USAGE.mapRead | USAGE.copyDst, "staging", "profile");
  }

  /** The pass that dispatch `at` is to run in, alone. */
  beginPass(encoder: GPUCommandEncoder, at: number): GPUComputePassEncoder {
    const query = (2 * at) % QUERIES_PER_SET;
    return encoder.beginComputePass({
      label: this.#launches[at]!.variant.label,
      timestampWrites: {
        querySet: this.#buffers.sets[Math.floor((2 * at) / QUERIES_PER_SET)]!,
        beginningOfPassWriteIndex: query,
        endOfPassWriteIndex: query + 1,
      },
    });
  }

  /** Keeps the workgroup counts of an indirect dispatch: right after it, since later ones may reuse the memory. */
  keepCounts(encoder: GPUCommandEncoder, at: number, counts: GPUBuffer, offset: number): void {
    encoder.copyBufferToBuffer(counts, offset, this.#staging, this.#countsStart + at * COUNTS_BYTES, 12);
  }

  /** Call it after the last dispatch. */
  finish(encoder: GPUCommandEncoder): void {
    const { sets, stamps } = this.#buffers;
    for (const [i, set] of sets.entries()) {
      const first = i * QUERIES_PER_SET;
      const count = Math.min(QUERIES_PER_SET, 2 * this.#launches.length - first);
      if (count > 0) encoder.resolveQuerySet(set, 0, count, stamps, first * STAMP_BYTES);
    }
    encoder.copyBufferToBuffer(stamps, 0, this.#staging, 0, this.#countsStart);
  }

  /** Waits for the replay. Call it once, after the submit. */
  async read(): Promise<DispatchTimes> {
    const launches = this.#launches;
    await mapForRead(this.#device, this.#staging, "reading the clock of a profile");
    try {
      const mapped = this.#staging.getMappedRange();
      const stamps = new BigUint64Array(mapped, 0, 2 * launches.length);
      const counts = new Uint32Array(mapped, this.#countsStart);
      return {
        begin: Float64Array.from(launches, (_, i) => Number(stamps[2 * i]!)),
        end: Float64Array.from(launches, (_, i) => Number(stamps[2 * i + 1]!)),
        share: Float64Array.from(launches, ({ indirect, groups }, i) =>
          indirect ? (counts[4 * i]! * counts[4 * i + 1]!) / (groups[0] * groups[1]) : 1,
        ),
      };
    } finally {
      this.#device.destroyBuffer(this.#staging, "staging");
    }
  }

  get #countsStart(): number {
    return 2 * STAMP_BYTES * this.#launches.length;
  }
}
