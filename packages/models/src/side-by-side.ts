// Matrices that multiply the same input lie side by side in memory, where their projections become one product.

import { BYTES_PER_ELEMENT, state, viewOf } from "@tunesmith/tensor";
import type { DenseFormat, Tensor, Weight } from "@tunesmith/tensor";
import type { ParameterSource, PlainSource } from "./build.ts";

/** The names in their order, matrices of one module with equally many columns together: q, k and v, or gate and up. */
export function ofOneInput(shapes: ReadonlyMap<string, readonly number[]>): string[][] {
  const groups: string[][] = [];
  const open = new Map<string, string[]>();
  for (const [name, shape] of shapes) {
    const key = `${name.split(".").slice(0, -2).join(".")} ${shape.join().slice(shape.join().indexOf(",") + 1)}`;
    const group = shape.length === 2 ? open.get(key) : undefined;
    if (group) group.push(name);
    else {
      const alone = [name];
      groups.push(alone);
      if (shape.length === 2) open.set(key, alone);
    }
  }
  return groups;
}

/**
 * Loads frozen matrices with equally many columns one after the other into one state. Undefined where their formats
 * differ, one would not start at a bindable offset, or all together exceed a binding.
 */
export async function sideBySide(
  device: Tensor["device"],
  matrices: readonly { name: string; shape: readonly [number, number]; from: ParameterSource }[],
): Promise<{ memory: Tensor; weights: Map<string, Weight> } | undefined> {
  const [first] = matrices;
  if (!first || "load" in first.from) return undefined;
  const { format } = first.from;
  const bytes = BYTES_PER_ELEMENT[format];
  const weights = new Map<string, Weight>();
  const places: { start: number; from: PlainSource }[] = [];
  let total = 0;
  for (const { shape, from } of matrices) {
    if ("load" in from || from.format !== format || (total * bytes) % device.facts.offsetAlignment !== 0)
      return undefined;
    places.push({ start: total, from });
    total += shape[0] * shape[1];
  }
  if (total * bytes > device.facts.maxBindingBytes) return undefined;
  const label = matrices.map((m) => m.name).join(", ");
  const memory = state(device, { shape: [total], dtype: format, category: "weights", label });
  for (const [i, { name, shape }] of matrices.entries()) {
    const { start, from } = places[i]!;
    const tensor = viewOf(memory, start, shape);
    await uploadRows(tensor, from, 0);
    weights.set(name, { shape, format, shards: [{ tensor, firstRow: 0, rows: shape[0] }] });
  }
  return { memory, weights };
}

/** Bytes that may wait in the queue at once: they are held twice. */
const PIECE_BYTES = 2 ** 24;
/** Bytes worth waiting for: what is held twice meanwhile stays with the process on some hosts. */
const WAIT_BYTES = 2 ** 19;

/** Fills a matrix with the rows of a source from `firstRow` on. */
export async function uploadRows(tensor: Tensor<DenseFormat>, from: PlainSource, firstRow: number): Promise<void> {
  const { device } = tensor;
  const [rows, cols] = tensor.shape as [number, number];
  const bytesPerRow = cols * BYTES_PER_ELEMENT[tensor.dtype];
  // pieces of whole 256 bytes, so that each is a view
  const rowsAtOnce = Math.max(128, Math.floor(PIECE_BYTES / bytesPerRow / 128) * 128);
  for (let row = 0; row < rows && !device.virtual; row += rowsAtOnce) {
    const count = Math.min(rowsAtOnce, rows - row);
    const data = await from.rows(firstRow + row, count);
    viewOf(tensor, row * cols, [count, cols]).write(data);
    if (count * bytesPerRow >= WAIT_BYTES) await device.idle();
  }
}
