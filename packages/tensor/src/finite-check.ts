// Looks for NaN and Inf on the device. Debug mode: after every launch each f32 output is scanned; the number of the first bad
// launch is kept on the device, so that it works in replayed programs too and costs one small read. And tensors by name.

import type { Device } from "./device.ts";
import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "./kernel.ts";
import type { Kernel } from "./kernel.ts";
import { launch } from "./launch.ts";
import type { Indirect } from "./launch.ts";
import { state, Tensor } from "./tensor.ts";

const NONE = 0xffffffff;
const ELEMENTS_PER_LANE = 16;

/** Exponent bits in the lower and the upper half of a word. */
const EXPONENTS = {
  f32: { lower: 0x7f800000, upper: 0x7f800000 },
  f16: { lower: 0x7c00, upper: 0x7c000000 },
  bf16: { lower: 0x7f80, upper: 0x7f800000 },
} as const;

/** Words x [n] → flag[0] = min(flag[0], number) if any element is NaN or Inf (exponent bits all set). */
const findNonFinite: Kernel<"n" | "number" | "lower" | "upper", "x", never, "first_bad"> = defineKernel({
  label: "find_non_finite",
  params: { n: "u32", number: "u32", lower: "u32", upper: "u32" },
  reads: { x: "u32" },
  updates: { first_bad: "atomic<u32>" },
  workgroups: ({ n }) => Math.ceil(n / (64 * ELEMENTS_PER_LANE)),
  wgsl: () => /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      for (var step = 0u; step < ${ELEMENTS_PER_LANE}u; step++) {
        let i = (group * ${ELEMENTS_PER_LANE}u + step) * 64u + lane;
        if (i < p.n && ((x[i] & p.lower) == p.lower || (x[i] & p.upper) == p.upper)) { atomicMin(&first_bad[0], p.number); }
      }
    }`,
});

export class FiniteCheck {
  readonly #firstBad: Tensor<"u32">;
  readonly #names: string[] = [];

  constructor(device: Device) {
    this.#firstBad = state(device, {
      shape: [1],
      dtype: "u32",
      category: "state",
      label: "first bad launch",
      data: Uint32Array.of(NONE),
    });
  }

  /**
   * Scans the outputs of a launch that was just made. Where data decided whether it ran at all it decides on the scan
   * too: outputs of what did not run hold anything. Counts that only fit that launch cannot, so nothing is scanned.
   */
  after(label: string, outputs: ReadonlyMap<string, Tensor>, indirect: Indirect | undefined): void {
    if (indirect instanceof Tensor) return;
    for (const [name, x] of outputs) {
      if (x.dtype !== "f32") continue;
      const number = this.#names.push(`${label} → ${name} [${x.shape.join(", ")}]`) - 1;
      launch(findNonFinite, {
        params: { n: x.size, number, ...EXPONENTS.f32 },
        reads: { x },
        updates: { first_bad: this.#firstBad },
        indirect,
      });
    }
  }

  /** The first launch since the last call that produced a NaN or Inf, as "kernel → output [shape]". */
  async first(): Promise<string | undefined> {
    const [number] = await this.#firstBad.read();
    this.#firstBad.write(Uint32Array.of(NONE));
    return number === NONE ? undefined : this.#names[number!];
  }

  dispose(): void {
    this.#firstBad.dispose();
  }

  /** True for the scan itself, which must not be scanned. */
  static isScan(kernel: Kernel): boolean {
    return kernel === (findNonFinite as unknown as Kernel);
  }
}

/** Does `work` with every launch scanned; programs that it records keep their scans. */
export async function checkingFinite<T>(device: Device, work: (check: FiniteCheck) => Promise<T>): Promise<T> {
  if (device.finite) return work(device.finite);
  const check = new FiniteCheck(device);
  device.finite = check;
  try {
    return await work(check);
  } finally {
    device.finite = undefined;
    check.dispose();
  }
}

/** The name of the first tensor with a NaN or Inf in it. Integers have none. */
export async function firstNonFinite(
  device: Device,
  tensors: Iterable<readonly [name: string, tensor: Tensor]>,
): Promise<string | undefined> {
  const firstBad = state(device, {
    shape: [1],
    dtype: "u32",
    category: "state",
    label: "first bad tensor",
    data: Uint32Array.of(NONE),
  });
  const names: string[] = [];
  for (const [name, x] of tensors) {
    const { dtype } = x;
    if (dtype !== "f32" && dtype !== "f16" && dtype !== "bf16") continue;
    const n = dtype === "f32" ? x.size : Math.ceil(x.size / 2);
    const number = names.push(name) - 1;
    launch(findNonFinite, {
      params: { n, number, ...EXPONENTS[dtype] },
      reads: { x },
      updates: { first_bad: firstBad },
    });
  }
  const [number] = await firstBad.read();
  firstBad.dispose();
  return number === NONE ? undefined : names[number!];
}
