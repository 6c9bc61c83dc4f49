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
  /** its moments are kept in blocks of 256 elements, see `adamw8bit` */
  readonly quantized?: boolean;
}

/** Parameters that are updated alike. */
export interface ParameterGroup {
  readonly decay: boolean;
  readonly rate: number;
}

/** Consecutive rows of a parameter (all of them, unless it exceeds one binding) inside one shard. */
export interface ParameterSlice {
  readonly shard: number;
  /** first element in the shard, a multiple of 64 (256 bytes); of a whole block where moments are quantized */
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

/** One flat buffer per part: all of it quantized, or nothing. */
export interface ParameterShard {
  readonly size: number;
  readonly ranges: readonly ParameterRange[];
  readonly quantized?: true;
}

export interface ParameterLayout {
  readonly groups: readonly ParameterGroup[];
  readonly shards: readonly ParameterShard[];
  readonly slices: ReadonlyMap<string, readonly ParameterSlice[]>;
  /** f32 elements of all shards together, alignment included: bytes of one copy are 4 times this */
  readonly size: number;
}

/** elements; views start at multiples of 256 bytes */
const ALIGNMENT = 64;
/** elements of a parameter whose moments share a scale (bitsandbytes' block size) */
export const QUANTIZED_BLOCK = 256;

const product = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

/**
 * Lays parameters into shards, group by group: those with decay first, else in the order given; what is quantized comes first,
 * in shards of its own. A parameter larger than one binding is split by rows (its first dimension).
 *
 * @param maxBindingBytes - largest storage binding of the device (`facts.maxBindingBytes`)
 * @throws OptimError `PARAMETER_DUPLICATE`, or `PARAMETER_TOO_LARGE` where one row alone exceeds a binding
 */
export function layoutParameters(specs: readonly ParameterSpec[], maxBindingBytes: number): ParameterLayout {
  const shards: { size: number; ranges: { start: number; size: number; group: number }[]; quantized?: true }[] = [];
  const groups: ParameterGroup[] = [];
  const slices = new Map<string, readonly ParameterSlice[]>();

  const alignment = (quantized: boolean): number => (quantized ? QUANTIZED_BLOCK : ALIGNMENT);
  const capacity = (quantized: boolean): number =>
    Math.floor(maxBindingBytes / 4 / alignment(quantized)) * alignment(quantized);
  const place = (elements: number, group: number, quantized: boolean): { shard: number; start: number } => {
    const size = Math.ceil(elements / alignment(quantized)) * alignment(quantized);
    let shard = shards.at(-1);
    if (!shard || (shard.quantized ?? false) !== quantized || shard.size + size > capacity(quantized))
      shards.push((shard = { size: 0, ranges: [], ...(quantized ? { quantized } : {}) }));
    const start = shard.size;
    const range = shard.ranges.at(-1);
    if (range?.group === group) range.size += size;
    else shard.ranges.push({ start, size, group });
    shard.size += size;
    return { shard: shards.length - 1, start };
  };

  for (const spec of specs) if (groupOf(groups, spec) === -1) groups.push({ decay: spec.decay, rate: spec.rate ?? 1 });
  groups.sort((a, b) => Number(b.decay) - Number(a.decay));
  const ordered = [true, false].flatMap((quantized) =>
    groups.flatMap((_, group) =>
      specs.filter((spec) => groupOf(groups, spec) === group && (spec.quantized ?? false) === quantized),
    ),
  );
  for (const spec of ordered) {
    const { name, shape, quantized = false } = spec;
    const group = groupOf(groups, spec);
    if (slices.has(name)) throw new OptimError("PARAMETER_DUPLICATE", `two parameters are named ${name}`);
    if (product(shape) <= capacity(quantized)) {
      slices.set(name, [{ ...place(product(shape), group, quantized), shape, firstRow: 0 }]);
      continue;
    }
    const [rows = 1, ...rest] = shape;
    const wholeBlocks = quantized ? QUANTIZED_BLOCK / commonDivisor(QUANTIZED_BLOCK, product(rest)) : 1;
    const rowsPerSlice = Math.floor(capacity(quantized) / product(rest) / wholeBlocks) * wholeBlocks;
    if (rowsPerSlice === 0)
      throw new OptimError(
        "PARAMETER_TOO_LARGE",
        `${quantized ? "a block of rows" : "one row"} of parameter ${name} [${shape.join(", ")}] exceeds the largest binding of this GPU (${maxBindingBytes} bytes)`,
      );
    const parts: ParameterSlice[] = [];
    for (let firstRow = 0; firstRow < rows; firstRow += rowsPerSlice) {
      const part = [Math.min(rowsPerSlice, rows - firstRow), ...rest];
      parts.push({ ...place(product(part), group, quantized), shape: part, firstRow });
    }
    slices.set(name, parts);
  }
  return { groups, shards, slices, size: shards.reduce((sum, shard) => sum + shard.size, 0) };
}

function groupOf(groups: readonly ParameterGroup[], { decay, rate = 1 }: ParameterSpec): number {
  return groups.findIndex((group) => group.decay === decay && group.rate === rate);
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}
