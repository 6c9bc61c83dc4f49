import { nearest } from "@tunesmith/core";
import { state, viewOf } from "@tunesmith/tensor";
import type { Category, Device, Tensor } from "@tunesmith/tensor";
import { OptimError } from "./errors.ts";
import { layoutParameters } from "./layout.ts";
import type { ParameterLayout, ParameterSpec } from "./layout.ts";

/** What is kept per parameter; `m` and `v` are AdamW's moments (torch: `exp_avg`, `exp_avg_sq`). */
export type ParameterPart = "values" | "gradients" | "m" | "v";
const PARTS: readonly ParameterPart[] = ["values", "gradients", "m", "v"];

/** Views of consecutive rows of a parameter. */
export interface ParameterViews {
  readonly firstRow: number;
  readonly values: Tensor<"f32">;
  readonly gradients: Tensor<"f32">;
  readonly m: Tensor<"f32">;
  readonly v: Tensor<"f32">;
}

/**
 * Named trainable parameters with their gradients and AdamW moments, all f32, in flat shards on one device: an update
 * is one dispatch per shard and decay group however many parameters there are. Everything starts as zeros.
 */
export class ParameterStore {
  readonly device: Device;
  readonly layout: ParameterLayout;
  /** u32 [1]: set by a norm that is not finite; every update is a no-op while it is set, and only `clearHalt` clears it */
  readonly halt: Tensor<"u32">;
  /** flat f32 tensors, one of each part per shard */
  readonly shards: readonly Readonly<Record<ParameterPart, Tensor<"f32">>>[];
  readonly #views = new Map<string, readonly ParameterViews[]>();

  /**
   * @param specs - names are unique; order is kept within each decay group
   * @param category - what the values count as in the memory plan
   * @throws OptimError `PARAMETER_DUPLICATE`, `PARAMETER_TOO_LARGE`
   */
  constructor(device: Device, specs: readonly ParameterSpec[], category: Extract<Category, "adapter" | "weights">) {
    this.device = device;
    this.layout = layoutParameters(specs, device.facts.maxBindingBytes);
    const categories = {
      values: category,
      gradients: "gradients",
      m: "optimizer",
      v: "optimizer",
    } as const;
    this.shards = this.layout.shards.map(({ size }, i) => {
      const flat = (part: ParameterPart): Tensor<"f32"> =>
        state(device, {
          shape: [size],
          dtype: "f32",
          category: categories[part],
          label: `${part} ${i}`,
        });
      return { values: flat("values"), gradients: flat("gradients"), m: flat("m"), v: flat("v") };
    });
    for (const [name, slices] of this.layout.slices) {
      const views = slices.map(({ shard, start, shape, firstRow }) => {
        const view = (part: ParameterPart): Tensor<"f32"> => viewOf(this.shards[shard]![part], start, shape);
        return {
          firstRow,
          values: view("values"),
          gradients: view("gradients"),
          m: view("m"),
          v: view("v"),
        };
      });
      this.#views.set(name, views);
    }
    this.halt = state(device, { shape: [1], dtype: "u32", category: "optimizer", label: "halt" });
  }

  /** in layout order */
  get names(): readonly string[] {
    return [...this.#views.keys()];
  }

  /**
   * The row slices of a parameter: one, unless it exceeds the device's largest binding. The same tensors every time.
   * @throws OptimError `PARAMETER_UNKNOWN`
   */
  slices(name: string): readonly ParameterViews[] {
    const views = this.#views.get(name);
    if (views) return views;
    const near = nearest(name, this.names);
    throw new OptimError("PARAMETER_UNKNOWN", `there is no parameter named ${name}`, {
      received: name,
      ...(near === undefined ? {} : { fix: `did you mean ${near}?` }),
    });
  }

  /**
   * The views of a parameter that lies in one piece.
   * @throws OptimError `PARAMETER_UNKNOWN`; `PARAMETER_SPLIT` where it lies in several, which only `slices` gives
   */
  parameter(name: string): ParameterViews {
    const [whole, ...rest] = this.slices(name);
    if (rest.length > 0)
      throw new OptimError(
        "PARAMETER_SPLIT",
        `parameter ${name} exceeds one binding of this GPU and lies in ${rest.length + 1} row slices`,
        {
          fix: "use its slices as the shards of a Weight",
        },
      );
    return whole!;
  }

  /** Reads one part of a parameter, row-major, all slices joined. */
  async read(name: string, part: ParameterPart): Promise<Float32Array> {
    const pieces = await Promise.all(this.slices(name).map((s) => s[part].read()));
    return joined(pieces);
  }

  /** Reads one part of every parameter with one copy per shard; for checkpoints. */
  async readAll(part: ParameterPart): Promise<Map<string, Float32Array>> {
    const flat: Float32Array[] = [];
    for (const shard of this.shards) flat.push(await shard[part].read());
    const out = new Map<string, Float32Array>();
    for (const [name, slices] of this.layout.slices) {
      const pieces = slices.map(({ shard, start, shape }) =>
        flat[shard]!.slice(start, start + shape.reduce((n, d) => n * d, 1)),
      );
      out.set(name, joined(pieces));
    }
    return out;
  }

  /**
   * Overwrites one part of a parameter.
   * @param data - row-major, as long as the parameter
   * @throws OptimError `PARAMETER_UNKNOWN`, `PARAMETER_LENGTH`
   */
  write(name: string, part: ParameterPart, data: Float32Array): void {
    const slices = this.slices(name);
    const size = slices.reduce((n, s) => n + s[part].size, 0);
    if (data.length !== size)
      throw new OptimError("PARAMETER_LENGTH", `writing ${part} of parameter ${name}`, {
        received: `${data.length} values`,
        expected: `${size} values`,
      });
    let start = 0;
    for (const slice of slices) {
      const { size: length } = slice[part];
      slice[part].write(data.subarray(start, start + length));
      start += length;
    }
  }

  /** Drops the gradients; an update does it too, unless it was halted. */
  zeroGradients(): void {
    for (const { gradients } of this.shards) this.device.eager.clear(gradients);
  }

  /** Lets updates run again after a norm that was not finite. The gradients still hold what caused it. */
  clearHalt(): void {
    this.halt.write(Uint32Array.of(0));
  }

  dispose(): void {
    for (const shard of this.shards) for (const part of PARTS) shard[part].dispose();
    this.halt.dispose();
  }
}

function joined(pieces: readonly Float32Array[]): Float32Array {
  if (pieces.length === 1) return pieces[0]!;
  const out = new Float32Array(pieces.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}
