import { nearest } from "@tunesmith/core";
import { elementCount, launch, scaleBy, state, viewOf } from "@tunesmith/tensor";
import type { Category, Device, Tensor } from "@tunesmith/tensor";
import { OptimError } from "./errors.ts";
import { layoutParameters, QUANTIZED_BLOCK } from "./layout.ts";
import type { ParameterLayout, ParameterSpec } from "./layout.ts";
import { codeTables, quantizedMoments, SMALLEST_QUANTIZED } from "./quantized.ts";
import type { QuantizedMoments } from "./quantized.ts";
import { savedState, words } from "./saved-state.ts";
import type { SavedState } from "./saved-state.ts";

/**
 * Running averages that an optimizer may keep: of gradients, and of their squares (torch: `exp_avg`, `exp_avg_sq`), in f32;
 * `quantized`: both of them in eight bits; `factored`: of squares, a number per row and per column (see `adafactor`).
 */
export type Moment = "m" | "v" | "quantized" | "factored";

/** Running averages of squared gradients of a parameter [rows, …]: their means over each row and over each column. */
export interface FactoredMoment {
  /** f32 [rows] */
  readonly rows: Tensor<"f32">;
  /** f32 [elements of a row]; [1] for a vector */
  readonly columns: Tensor<"f32">;
}

/** What is kept per parameter as an f32 array of its shape. */
export type ParameterPart = "values" | "gradients" | "m" | "v";

/** Views of consecutive rows of a parameter. */
export interface ParameterViews {
  readonly firstRow: number;
  readonly values: Tensor<"f32">;
  readonly gradients: Tensor<"f32">;
}

/** Flat tensors of one shard; moments that the store does not keep are missing. */
export interface Shard {
  readonly values: Tensor<"f32">;
  readonly gradients: Tensor<"f32">;
  readonly m?: Tensor<"f32">;
  readonly v?: Tensor<"f32">;
  readonly quantized?: QuantizedMoments;
}

/**
 * One part of a shard.
 * @throws OptimError `MOMENT_UNKNOWN` for a moment that its store does not keep
 */
export function partOf(shard: Shard, part: ParameterPart): Tensor<"f32"> {
  const tensor = shard[part];
  if (tensor) return tensor;
  throw new OptimError("MOMENT_UNKNOWN", `these parameters have no ${part}: the store keeps none`, {
    received: part,
    expected: Object.keys(shard).join(", "),
    fix: "make the ParameterStore with the moments of the optimizer that is used",
  });
}

/**
 * Named trainable parameters with their gradients and their optimizer's moments, all f32, in flat shards on one device:
 * an update is one dispatch per shard and group however many parameters there are. Everything starts as zeros.
 */
export class ParameterStore {
  readonly device: Device;
  readonly layout: ParameterLayout;
  /** u32 [1]: set by a norm that is not finite; every update is a no-op while it is set, and only `clearHalt` clears it */
  readonly halt: Tensor<"u32">;
  readonly moments: readonly Moment[];
  readonly shards: readonly Shard[];
  /** where a moment is quantized: what its codes mean */
  readonly codeTables: Tensor<"f32"> | undefined;
  readonly #views = new Map<string, readonly ParameterViews[]>();
  #start: readonly Tensor<"f32">[] | undefined;
  readonly #factors = new Map<string, FactoredMoment>();

  /**
   * @param specs - names are unique; order is kept within each group
   * @param category - what the values count as in the memory plan
   * @param moments - what the optimizer keeps; default: both of AdamW's
   * @throws OptimError `PARAMETER_DUPLICATE`, `PARAMETER_TOO_LARGE`
   */
  constructor(
    device: Device,
    specs: readonly ParameterSpec[],
    category: Extract<Category, "adapter" | "weights">,
    moments: readonly Moment[] = ["m", "v"],
  ) {
    this.device = device;
    this.moments = moments;
    const quantizes = moments.includes("quantized");
    const marked = quantizes ? specs.map((spec) => ({ ...spec, quantized: isLarge(spec) })) : specs;
    this.layout = layoutParameters(marked, device.facts.maxBindingBytes);
    this.codeTables = this.layout.shards.some((shard) => shard.quantized) ? codeTables(device) : undefined;
    const f32: ParameterPart[] = quantizes ? ["m", "v"] : moments.filter((moment) => moment === "m" || moment === "v");
    const categories = {
      values: category,
      gradients: "gradients",
      m: "optimizer",
      v: "optimizer",
    } as const;
    this.shards = this.layout.shards.map(({ size, quantized }, i) => {
      const flat = (part: ParameterPart): Tensor<"f32"> =>
        state(device, {
          shape: [size],
          dtype: "f32",
          category: categories[part],
          label: `${part} ${i}`,
        });
      return {
        values: flat("values"),
        gradients: flat("gradients"),
        ...(quantized
          ? { quantized: quantizedMoments(device, size, i) }
          : Object.fromEntries(f32.map((moment) => [moment, flat(moment)]))),
      };
    });
    for (const [name, slices] of this.layout.slices) {
      const views = slices.map(({ shard, start, shape, firstRow }) => {
        const { values, gradients } = this.shards[shard]!;
        return { firstRow, values: viewOf(values, start, shape), gradients: viewOf(gradients, start, shape) };
      });
      this.#views.set(name, views);
    }
    if (moments.includes("factored"))
      for (const { name, shape } of specs) {
        const moment = (part: string, size: number): Tensor<"f32"> =>
          state(device, { shape: [size], dtype: "f32", category: "optimizer", label: `${part} of ${name}` });
        const [rows = 1] = shape;
        this.#factors.set(name, {
          rows: moment("rows", rows),
          columns: moment("columns", elementCount(shape) / rows),
        });
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

  /** By shard, what the values were when `keepStart` was called; undefined before. */
  get start(): readonly Tensor<"f32">[] | undefined {
    return this.#start;
  }

  /** Keeps a copy of all values as they are now, for `pullToStart`. */
  keepStart(): void {
    this.#start ??= this.shards.map(({ values }, i) =>
      state(this.device, { shape: values.shape, dtype: "f32", category: "optimizer", label: `start ${i}` }),
    );
    if (this.device.virtual) return;
    for (const [i, out] of this.#start.entries())
      launch(scaleBy, { params: { n: out.size, factor: 1 }, reads: { x: this.shards[i]!.values }, writes: { out } });
  }

  /**
   * The factored moment of a parameter.
   * @throws OptimError `PARAMETER_UNKNOWN`, `MOMENT_UNKNOWN`
   */
  factors(name: string): FactoredMoment {
    this.slices(name); // throws for an unknown name
    const found = this.#factors.get(name);
    if (found) return found;
    throw new OptimError("MOMENT_UNKNOWN", "these parameters have no factored moments: the store keeps none", {
      received: "factored",
      expected: this.moments.join(", "),
      fix: "make the ParameterStore with the moments of the optimizer that is used",
    });
  }

  /**
   * Reads one part of a parameter, row-major, all slices joined.
   * @throws OptimError `PARAMETER_UNKNOWN`, `MOMENT_UNKNOWN`
   */
  async read(name: string, part: ParameterPart): Promise<Float32Array> {
    return joined(await Promise.all(this.#pieces(name, part).map((piece) => piece.read())));
  }

  /**
   * Reads one part of every parameter with one copy per shard; for checkpoints.
   * @throws OptimError `MOMENT_UNKNOWN`
   */
  async readAll(part: ParameterPart): Promise<Map<string, Float32Array>> {
    const flat: Float32Array[] = [];
    for (const shard of this.shards) flat.push(await partOf(shard, part).read());
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
   * @throws OptimError `PARAMETER_UNKNOWN`, `PARAMETER_LENGTH`, `MOMENT_UNKNOWN`
   */
  write(name: string, part: ParameterPart, data: Float32Array): void {
    const pieces = this.#pieces(name, part);
    const size = pieces.reduce((n, piece) => n + piece.size, 0);
    if (data.length !== size)
      throw new OptimError("PARAMETER_LENGTH", `writing ${part} of parameter ${name}`, {
        received: `${data.length} values`,
        expected: `${size} values`,
      });
    let start = 0;
    for (const piece of pieces) {
      piece.write(data.subarray(start, start + piece.size));
      start += piece.size;
    }
  }

  #pieces(name: string, part: ParameterPart): Tensor<"f32">[] {
    this.slices(name); // throws for an unknown name
    const slices = this.layout.slices.get(name)!;
    return slices.map(({ shard, start, shape }) => viewOf(partOf(this.shards[shard]!, part), start, shape));
  }

  /**
   * What the optimizer keeps of all parameters, for checkpoints: `m.NAME` and `v.NAME` in f32; where they are quantized a
   * code per element, and in `scales.NAME` the largest magnitudes of every block of 256 elements, of m and of v in turns;
   * factored ones as `rows.NAME` and `columns.NAME`.
   */
  get savedStates(): ReadonlyMap<string, SavedState> {
    const states = new Map<string, SavedState>();
    for (const [name, slices] of this.layout.slices) {
      const size = slices.reduce((n, { shape }) => n + elementCount(shape), 0);
      const { quantized } = this.shards[slices[0]!.shard]!;
      for (const [part, tensor] of Object.entries(this.#factors.get(name) ?? {}))
        states.set(`${part}.${name}`, savedState("F32", tensor.size, [tensor]));
      for (const moment of ["m", "v"] as const) {
        if (quantized) {
          const pieces = slices.map(({ shard, start, shape }) =>
            words(this.shards[shard]!.quantized![moment], start / 4, Math.ceil(elementCount(shape) / 4)),
          );
          states.set(`${moment}.${name}`, savedState("U8", size, pieces));
        } else if (this.shards[slices[0]!.shard]![moment]) {
          states.set(`${moment}.${name}`, savedState("F32", size, this.#pieces(name, moment)));
        }
      }
      if (!quantized) continue;
      const pieces = slices.map(({ shard, start, shape }) => {
        const blocks = Math.ceil(elementCount(shape) / QUANTIZED_BLOCK);
        return words(this.shards[shard]!.quantized!.scales, (2 * start) / QUANTIZED_BLOCK, 2 * blocks);
      });
      states.set(
        `scales.${name}`,
        savedState(
          "F32",
          pieces.reduce((n, piece) => n + piece.size, 0),
          pieces,
        ),
      );
    }
    return states;
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
    for (const { quantized, ...flat } of this.shards)
      for (const tensor of [...Object.values(flat), ...Object.values(quantized ?? {})]) tensor.dispose();
    for (const { rows, columns } of this.#factors.values()) for (const tensor of [rows, columns]) tensor.dispose();
    for (const tensor of this.#start ?? []) tensor.dispose();
    this.codeTables?.dispose();
    this.halt.dispose();
  }
}

function isLarge({ shape }: ParameterSpec): boolean {
  return elementCount(shape) >= SMALLEST_QUANTIZED;
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
