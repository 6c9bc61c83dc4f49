// Measures the variants of every class of products in use that nobody measured yet, and puts the fastest into the
// device's table. A variant whose results differ is never taken, however fast: drivers have been wrong before.

import type { Device } from "../../device.ts";
import { TensorError } from "../../errors.ts";
import { empty, upload, viewOf } from "../../tensor.ts";
import type { Tensor } from "../../tensor.ts";
import type { DenseFormat } from "../../weight.ts";
import { fill } from "../elementwise.ts";
import { launch } from "../../launch.ts";
import { matmul } from "./matmul.ts";
import { candidatesOf } from "./variants.ts";
import type { ProductClass } from "./variants.ts";

export interface AutotuneOptions {
  /** a monotonic clock, in milliseconds */
  readonly now: () => number;
  /** measures software devices too, whose shipped table otherwise stands: there the same seed must give the same bytes */
  readonly force?: boolean;
}

/** What was measured for one class of products. */
export interface Tuned {
  readonly key: string;
  readonly chosen: string;
  /** best time of one product by variant, NaN where the results differed from those of the seeded variant */
  readonly milliseconds: Readonly<Record<string, number>>;
}

const LARGEST = 4096; // of each dimension: classes count no further, and operands stay below every binding limit
const ROUNDS = 4;
const ROUND_MS = 3;
/** What a variant must save to replace the seeded one, so that noise does not choose. */
const WORTH = 0.05;
/** max |Δ| / max |result| between two orders of summing in f32; mixed: and between operands of f16 and of f32. */
const SAME = { f32: 1e-4, mixed: 1e-2 };
const COMPARED = 2 ** 20;

/**
 * Measures every class that `device.kernelChoices` holds unmeasured, some 50 ms each beside the compilers, and leaves the
 * winners in the device's cache. Record or run the work once before, so that its classes are known, and if anything was
 * measured record it again: programs keep what they were recorded with.
 *
 * @returns one entry per class; none on a software device unless forced
 * @throws TensorError `RECORDING` inside `record`
 */
export async function autotune(device: Device, options: AutotuneOptions): Promise<Tuned[]> {
  if (device.recorder) throw new TensorError("RECORDING", "autotune was called while a program is being recorded");
  const { kernelChoices } = device;
  const { kernelCache } = device.options;
  if ((device.facts.software && options.force !== true) || kernelChoices.unmeasured.size === 0) return [];
  const tuned: Tuned[] = [];
  for (const [key, product] of kernelChoices.unmeasured) tuned.push(await measure(device, key, product, options.now));
  device.trim(); // operands of measurements are no part of any memory plan
  await kernelCache?.save(Object.fromEntries(tuned.map(({ key, chosen }) => [key, chosen])));
  return tuned;
}

async function measure(device: Device, key: string, product: ProductClass, now: () => number): Promise<Tuned> {
  const [rows, cols, depth] = [product.rows, product.cols, product.depth].map((n) => Math.min(n, LARGEST)) as [
    number,
    number,
    number,
  ];
  // 4-bit operands are decoded tile by tile as 16-bit ones are
  const format: DenseFormat = product.format === "nf4" || product.format === "fp4" ? "bf16" : product.format;
  const transposed = product.left === "own" && product.right === "k"; // as nn: see `betterTransposed`
  const [m, n] = transposed ? [cols, rows] : [rows, cols];
  const layout = transposed || product.right === "own" ? (product.left === "own" && !transposed ? "tn" : "nn") : "nt";
  const a = operand(device, layout === "tn" ? [depth, m] : [m, depth], "f32", 1);
  const b = operand(device, layout === "nt" ? [n, depth] : [depth, n], format, 2);
  const out = empty(device, [m, n]);
  const run = (name: string, times: number): Promise<void> => {
    device.kernelChoices.trying(name, () => {
      for (let i = 0; i < times; i++) matmul({ layout, a, b, out });
    });
    return device.idle();
  };

  const compute = device.options.compute ?? "f32";
  const names = candidatesOf(device.facts, product, compute);
  const best = new Map<string, number>();
  let want: Float32Array | undefined;
  let times = 1;
  for (const name of names) {
    launch(fill, { params: { n: out.size, value: 1e30 }, reads: {}, writes: { out } });
    await run(name, 1);
    const got = (await viewOf(out, 0, [Math.min(out.size, COMPARED)]).read()) as Float32Array;
    if (!want) {
      want = got;
      const start = now();
      await run(name, 1);
      times = Math.max(1, Math.min(64, Math.ceil(ROUND_MS / Math.max(0.01, now() - start))));
    }
    best.set(name, difference(got, want) <= SAME[compute] ? Infinity : NaN);
  }
  for (let round = 0; round < ROUNDS; round++)
    for (const name of names) {
      const start = now();
      await run(name, times);
      best.set(name, Math.min(best.get(name)!, (now() - start) / times)); // NaN stays
    }
  for (const tensor of [a, b, out]) tensor.dispose();
  const seeded = names[0]!;
  const rivals = names.filter((name) => best.get(name)! < (1 - WORTH) * best.get(seeded)!);
  const chosen = rivals.reduce((x, y) => (best.get(y)! < best.get(x)! ? y : x), seeded);
  device.kernelChoices.import({ [key]: chosen });
  return { key, chosen, milliseconds: Object.fromEntries(best) };
}

/** Numbers between ½ and 2 of both signs in any format: sums that hide nothing and overflow nowhere. */
function operand(device: Device, shape: [number, number], format: DenseFormat, seed: number): Tensor {
  const size = shape[0] * shape[1];
  let state = seed;
  const random = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 16;
  if (format === "f32")
    return upload(
      device,
      shape,
      format,
      Float32Array.from({ length: size }, () => random() / 32768 - 1),
    );
  const [exponent, kept] = format === "f16" ? [0x3800, 0x83ff] : [0x3f00, 0x80ff];
  return upload(
    device,
    shape,
    format,
    Uint16Array.from({ length: size }, () => exponent | (random() & kept)),
  );
}

function difference(got: Float32Array, want: Float32Array): number {
  let [worst, largest] = [0, 0];
  for (const [i, w] of want.entries()) {
    const d = Math.abs(got[i]! - w);
    worst = d <= worst ? worst : d; // NaN wins
    largest = Math.max(largest, Math.abs(w));
  }
  return worst / largest;
}
