// Reads the goldens under fixtures/goldens: values computed by Hugging Face transformers and PEFT.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Path of something under fixtures/goldens. */
export function goldenPath(...parts: string[]): string {
  return fileURLToPath(new URL(`../../fixtures/goldens/${parts.join("/")}`, import.meta.url));
}

export interface Golden {
  readonly shape: readonly number[];
  readonly values: Float64Array;
}

/** All F32 and I32 tensors of a safetensors file. Written out here on purpose: a test must not trust the reader it tests. */
export function readGolden(...parts: string[]): Map<string, Golden> {
  const bytes = readFileSync(goldenPath(...parts));
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, Golden>();
  for (const [name, { dtype, shape, data_offsets: at }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const data = bytes.subarray(8 + length + at[0], 8 + length + at[1]);
    const count = data.length / 4;
    const values = new Float64Array(count);
    for (let i = 0; i < count; i++) values[i] = dtype === "I32" ? data.readInt32LE(4 * i) : data.readFloatLE(4 * i);
    if (dtype !== "F32" && dtype !== "I32") throw new Error(`${name}: unexpected dtype ${dtype}`);
    tensors.set(name, { shape, values });
  }
  return tensors;
}

export function readJson<T>(...parts: string[]): T {
  return JSON.parse(readFileSync(goldenPath(...parts), "utf8")) as T;
}

/** One golden batch `[B, T]` as one flat sequence, with targets shifted once per row. */
export interface FlatBatch {
  readonly inputIds: Int32Array;
  readonly positionIds: Int32Array;
  readonly segmentIds: Int32Array;
  readonly targets: Int32Array;
  readonly rows: number;
  readonly columns: number;
}

/** Rows become segments; a packed row brings its own `seq_ids`; positions come from the file or count up. */
export function flatBatch(golden: ReadonlyMap<string, Golden>, only?: { from: number; to: number }): FlatBatch {
  const [allRows, columns] = golden.get("input_ids")!.shape as [number, number];
  const { from, to } = only ?? { from: 0, to: allRows };
  const cut = (name: string): Float64Array | undefined =>
    golden.get(name)?.values.subarray(from * columns, to * columns);
  const ids = cut("input_ids")!;
  const labels = cut("labels")!;
  const mask = cut("attention_mask");
  const positions = cut("position_ids");
  const sequences = cut("seq_ids");
  const n = ids.length;
  const segment = (i: number): number =>
    mask?.[i] === 0 ? -1 : Math.floor(i / columns) * 1000 + (sequences?.[i] ?? 0);
  const segmentIds = Int32Array.from({ length: n }, (_, i) => segment(i));
  const targets = new Int32Array(n).fill(-100);
  for (let i = 0; i + 1 < n; i++) {
    if ((i + 1) % columns === 0) continue; // the next token is another row's
    targets[i] = labels[i + 1]!;
  }
  return {
    inputIds: Int32Array.from(ids),
    positionIds: Int32Array.from({ length: n }, (_, i) => Math.max(0, positions?.[i] ?? i % columns)),
    segmentIds,
    targets,
    rows: to - from,
    columns,
  };
}

/** max |a − b| over the given indices (all by default); NaN counts as infinite. */
export function maxError(a: ArrayLike<number>, b: ArrayLike<number>, at?: Iterable<number>): number {
  let worst = 0;
  for (const i of at ?? Array.from({ length: b.length }, (_, j) => j)) {
    const d = Math.abs(a[i]! - b[i]!);
    worst = Number.isNaN(d) ? Infinity : Math.max(worst, d);
  }
  return worst;
}

/** max |a − b| / max |b|, or the absolute error where b is below 1e-6 everywhere (see fixtures/README.md). */
export function gradientError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let scale = 0;
  for (let i = 0; i < b.length; i++) scale = Math.max(scale, Math.abs(b[i]!));
  return scale < 1e-6 ? 100 * maxError(a, b) : maxError(a, b) / scale;
}
