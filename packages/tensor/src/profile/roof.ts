// What this adapter reaches on the two things that bound every kernel: moving bytes and multiplying matrices.

import type { Device } from "../device.ts";
import type { DType } from "../dtype.ts";
import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";
import { launch } from "../launch.ts";
import { matmul } from "../kernels/matmul/matmul.ts";
import { record } from "../recorder.ts";
import { state } from "../tensor.ts";
import type { Tensor } from "../tensor.ts";

/** Rates that were measured, not read from a data sheet. */
export interface Roof {
  /** bytes read plus bytes written per second, by a copy in a kernel */
  readonly copy_bytes_per_second: number;
  /** two operations per multiply-add, in the better of a product with f32 and one with 16-bit weights */
  readonly matmul_flops_per_second: number;
}

const LANES = 64;
const VECTORS_PER_LANE = 4;
const LEAST_MS = 25;
const ROUNDS = 3;

/** y = x, n vectors of four. */
const copy: Kernel<"n", "x", "y", never> = defineKernel({
  label: "copy",
  params: { n: "u32" },
  reads: { x: "vec4f" },
  writes: { y: "vec4f" },
  workgroups: ({ n }) => Math.ceil(n / (LANES * VECTORS_PER_LANE)),
  wgsl: () => /* wgsl */ `
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      for (var j = 0u; j < ${VECTORS_PER_LANE}u; j++) {
        let i = (group * ${VECTORS_PER_LANE}u + j) * ${LANES}u + lane;
        if (i < p.n) { y[i] = x[i]; }
      }
    }`,
});

/**
 * Measures a copy and matrix products on this device, in about half a second and as many megabytes as are above its caches.
 * @param now - milliseconds from any origin
 */
export async function measureRoof(device: Device, now: () => number): Promise<Roof> {
  const { software, maxBindingBytes } = device.facts;
  const floats = Math.min(software ? 2 ** 24 : 2 ** 26, maxBindingBytes / 4);
  const size = software ? 512 : 4096;
  const line = { shape: [floats], dtype: "f32" } as const;
  const square = { shape: [size, size], dtype: "f32" } as const;
  const copied = await rate(device, now, 8 * floats, [line, line], ([x, y]) =>
    launch(copy, { params: { n: floats / 4 }, reads: { x: x! }, writes: { y: y! } }),
  );
  let multiplied = 0;
  for (const dtype of ["f32", "bf16"] as const)
    multiplied = Math.max(
      multiplied,
      await rate(device, now, 2 * size ** 3, [square, { ...square, dtype }, square], ([a, b, out]) =>
        matmul({ layout: "nt", a: a!, b: b!, out: out! }),
      ),
    );
  return { copy_bytes_per_second: copied, matmul_flops_per_second: multiplied };
}

/** Work per second of `body`: best of a few replays of as many launches as take long enough to be timed. */
async function rate(
  device: Device,
  now: () => number,
  work: number,
  operands: readonly { readonly shape: readonly number[]; readonly dtype: DType }[],
  body: (tensors: readonly Tensor[]) => void,
): Promise<number> {
  const tensors = operands.map((operand) => state(device, { ...operand, category: "state", label: "roof" }));
  const best = async (launches: number): Promise<number> => {
    const program = record(device, "roof", () => {
      for (let i = 0; i < launches; i++) body(tensors);
      return {};
    });
    const times: number[] = [];
    for (let round = 0; round <= ROUNDS; round++) {
      await device.idle();
      const start = now();
      program.replay();
      await device.idle();
      times.push(now() - start);
    }
    program.dispose();
    return Math.min(...times.slice(1)); // the first compiles
  };
  let launches = 1;
  let ms = await best(launches);
  while (ms < LEAST_MS && launches < 1024) {
    launches = Math.min(1024, Math.ceil((launches * 1.2 * LEAST_MS) / Math.max(ms, 0.1)));
    ms = await best(launches);
  }
  for (const tensor of tensors) tensor.dispose();
  return (work * launches) / (ms / 1000);
}
