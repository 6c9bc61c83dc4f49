// Debug mode: after every launch each f32 output is scanned for NaN and Inf; the number of the first bad launch is kept
// on the device, so that it works in replayed programs too and costs one small read.

import type { Device } from "./device.ts";
import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "./kernel.ts";
import type { Kernel } from "./kernel.ts";
import { launch } from "./launch.ts";
import type { Indirect } from "./launch.ts";
import { state, Tensor } from "./tensor.ts";

const NONE = 0xffffffff;
const ELEMENTS_PER_LANE = 16;

/** x [n] → flag[0] = min(flag[0], number) if any element is NaN or Inf (exponent bits all set). */
const findNonFinite: Kernel<"n" | "number", "x", never, "first_bad"> = defineKernel({
  label: "find_non_finite",
  params: { n: "u32", number: "u32" },
  reads: { x: "u32" },
  updates: { first_bad: "atomic<u32>" },
  workgroups: ({ n }) => Math.ceil(n / (64 * ELEMENTS_PER_LANE)),
  wgsl: () => /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      for (var step = 0u; step < ${ELEMENTS_PER_LANE}u; step++) {
        let i = (group * ${ELEMENTS_PER_LANE}u + step) * 64u + lane;
        if (i < p.n && (x[i] & 0x7f800000u) == 0x7f800000u) { atomicMin(&first_bad[0], p.number); }
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
        params: { n: x.size, number },
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

  /** True for the scan itself, which must not be scanned. */
  static isScan(kernel: Kernel): boolean {
    return kernel === (findNonFinite as unknown as Kernel);
  }
}
