// Where named parameters lie in flat shards: a pure function of shapes and the largest binding, so that the memory
// plan knows every byte before a buffer exists.

import { OptimError } from "./errors.ts";

export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /** weight decay applies */
  readonly decay: boolean;
  /** multiplies the learning rate; default 1 (LoRA+: Hayou et al. 2024, https://arxiv.org/abs/2402.12354) */
  readonly rate?: number;
}

/** Parameters that are updated alike. */
export interface ParameterGroup {
  readonly decay: boolean;
  readonly rate: number;
}

/** Consecutive rows of a parameter (all of them, unless it exceeds one binding) inside one shard. */
export interface ParameterSlice {
  readonly shard: number;
  /** first element in the shard, a multiple of 64 (256 bytes) */
  readonly start: number;
  readonly shape: readonly number[];
  readonly firstRow: number;
}

/** Elements of one shard that are updated alike. */
export interface ParameterRange {
  readonly start: number;
  readonly size: number;
  /** index into the layout's groups */
  readonly group: number;
}

export interface ParameterLayout {
  readonly groups: readonly ParameterGroup[];
  readonly shards: readonly { readonly size: number; readonly ranges: readonly ParameterRange[] }[];
  readonly slices: ReadonlyMap<string, readonly ParameterSlice[]>;
  /** f32 elements of all shards together, alignment included: bytes of one copy are 4 times this */
  readonly size: number;
}

/** elements; views start at multiples of 256 bytes */
const ALIGNMENT = 64;

const product = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

/**
 * Lays parameters into shards, group by group: those with decay first, else in the order given. A parameter larger than one
 * binding is split by rows (its first dimension).
 *
 * @param maxBindingBytes - largest storage binding of the device (`facts.maxBindingBytes`)
 * @throws OptimError `PARAMETER_DUPLICATE`, or `PARAMETER_TOO_LARGE` where one row alone exceeds a binding
 */
export function layoutParameters(specs: readonly ParameterSpec[], maxBindingBytes: number): ParameterLayout {
  const capacity = Math.floor(maxBindingBytes / 4 / ALIGNMENT) * ALIGNMENT;
  const shards: { size: number; ranges: { start: number; size: number; group: number }[] }[] = [];
  const groups: ParameterGroup[] = [];
  const slices = new Map<string, readonly ParameterSlice[]>();

  const place = (elements: number, group: number): { shard: number; start: number } => {
    const size = Math.ceil(elements / ALIGNMENT) * ALIGNMENT;
    let shard = shards.at(-1);
    if (!shard || shard.size + size > capacity) shards.push((shard = { size: 0, ranges: [] }));
    const start = shard.size;
    const range = shard.ranges.at(-1);
    if (range?.group === group) range.size += size;
    else shard.ranges.push({ start, size, group });
    shard.size += size;
    return { shard: shards.length - 1, start };
  };

  for (const spec of specs) if (groupOf(groups, spec) === -1) groups.push({ decay: spec.decay, rate: spec.rate ?? 1 });
  groups.sort((a, b) => Number(b.decay) - Number(a.decay));
  const ordered = groups.flatMap((_, group) => specs.filter((spec) => groupOf(groups, spec) === group));
  for (const spec of ordered) {
    const { name, shape } = spec;
    const group = groupOf(groups, spec);
    if (slices.has(name)) throw new OptimError("PARAMETER_DUPLICATE", `two parameters are named ${name}`);
    if (product(shape) <= capacity) {
      slices.set(name, [{ ...place(product(shape), group), shape, firstRow: 0 }]);
      continue;
    }
    const [rows = 1, ...rest] = shape;
    const rowsPerSlice = Math.floor(capacity / product(rest));
    if (rowsPerSlice === 0)
      throw new OptimError(
        "PARAMETER_TOO_LARGE",
        `one row of parameter ${name} [${shape.join(", ")}] exceeds the largest binding of this GPU (${maxBindingBytes} bytes)`,
      );
    const parts: ParameterSlice[] = [];
    for (let firstRow = 0; firstRow < rows; firstRow += rowsPerSlice) {
      const part = [Math.min(rowsPerSlice, rows - firstRow), ...rest];
      parts.push({ ...place(product(part), group), shape: part, firstRow });
    }
    slices.set(name, parts);
  }
  return { groups, shards, slices, size: shards.reduce((sum, shard) => sum + shard.size, 0) };
}

function groupOf(groups: readonly ParameterGroup[], { decay, rate = 1 }: ParameterSpec): number {
  return groups.findIndex((group) => group.decay === decay && group.rate === rate);
}
