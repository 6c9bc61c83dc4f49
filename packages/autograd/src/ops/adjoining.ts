import { BYTES_PER_ELEMENT, Tensor } from "@tunesmith/tensor";
import type { Weight, WeightShard } from "@tunesmith/tensor";

/** True where `second` begins in memory where `first` ends, so that one view covers both. */
export function adjoin(first: Tensor, second: Tensor): boolean {
  return (
    first.storage === second.storage &&
    first.dtype === second.dtype &&
    second.byteOffset === first.byteOffset + first.size * BYTES_PER_ELEMENT[first.dtype]
  );
}

/** One view over tensors that lie one after the other in memory, as `shape`; undefined where they do not. */
export function oneView(tensors: readonly Tensor[], shape: readonly number[]): Tensor | undefined {
  const [first] = tensors;
  if (!first || tensors.some((t, i) => i > 0 && !adjoin(tensors[i - 1]!, t))) return undefined;
  if (tensors.reduce((bytes, t) => bytes + t.bytes, 0) > first.device.facts.maxBindingBytes) return undefined;
  return new Tensor(first.device, shape, first.dtype, first.storage, first.byteOffset);
}

/** Cuts a list into runs whose neighbours belong together. */
export function runs<T>(items: readonly T[], together: (a: T, b: T) => boolean, most: number = Infinity): T[][] {
  const all: T[][] = [];
  for (const item of items) {
    const run = all.at(-1);
    if (run && run.length < most && together(run.at(-1)!, item)) run.push(item);
    else all.push([item]);
  }
  return all;
}

/**
 * Matrices with equally many columns as one, rows below rows: one weight per run of equal formats, of which each has
 * the rows of its run at their place among all. Dense shards that adjoin become one.
 */
export function stackedRows(weights: readonly Weight[]): Weight[] {
  const cols = weights[0]!.shape[1];
  const total = weights.reduce((sum, w) => sum + w.shape[0], 0);
  let first = 0;
  const placed = weights.map((w) => {
    const at = first;
    first += w.shape[0];
    return { ...w, shards: w.shards.map((shard) => ({ ...shard, firstRow: at + shard.firstRow })) };
  });
  return runs(placed, (a, b) => a.format === b.format).map((run) => {
    const { format } = run[0]!;
    // the elements of a four-bit shard follow its scales: its neighbour's cannot join them
    const dense = format !== "nf4" && format !== "fp4";
    const shards = runs(
      run.flatMap((w) => w.shards),
      (a, b) => dense && adjoin(a.tensor, b.tensor),
    ).flatMap((list): readonly WeightShard[] => {
      const rows = list.reduce((sum, s) => sum + s.rows, 0);
      const tensor =
        list.length > 1 &&
        oneView(
          list.map((s) => s.tensor),
          [rows, cols],
        );
      return tensor ? [{ tensor, firstRow: list[0]!.firstRow, rows }] : list;
    });
    return { shape: [total, cols], format, shards };
  });
}
