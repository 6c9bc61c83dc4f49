import {
  adafactorApply,
  adafactorColumns,
  adafactorColumnSums,
  adafactorRows,
  adafactorSquares,
  empty,
  fill,
  launch,
  rowBlocks,
  sumPartials,
} from "@tunesmith/tensor";
import type { Device, Tensor } from "@tunesmith/tensor";
import type { Optimizer } from "./optimizer.ts";
import type { ParameterStore } from "./store.ts";
import { checkRanges, clipGradients, groupScalars } from "./update.ts";

export interface AdafactorOptions {
  /** the share of the newest squares in a moment is step^decayRate; in [−1, 0), default −0.8 */
  readonly decayRate?: number;
  /** an update is scaled down to this root mean square over its parameter; > 0, default 1 */
  readonly clipThreshold?: number;
  /** decoupled weight decay, ≥ 0; parameters with `decay: false` have none */
  readonly weightDecay: number;
  /** gradients are scaled down to this global L2 norm; undefined: no clipping */
  readonly maxGradNorm?: number | undefined;
}

/**
 * Adafactor with a given learning rate and no first moment, as transformers' trainer runs it (`scale_parameter` and
 * `relative_step` false): of a matrix it keeps a number per row and per column. Every parameter is updated by launches of its own.
 * @throws OptimError `OPTION_INVALID`
 * @see Shazeer and Stern 2018, "Adafactor", https://arxiv.org/abs/1804.04235
 */
export function adafactor({
  decayRate = -0.8,
  clipThreshold = 1,
  weightDecay,
  maxGradNorm,
}: AdafactorOptions): Optimizer {
  checkRanges("adafactor", [
    ["decayRate", decayRate, decayRate >= -1 && decayRate < 0, "in [-1, 0)"],
    ["clipThreshold", clipThreshold, clipThreshold > 0, "> 0"],
    ["weightDecay", weightDecay, weightDecay >= 0, "≥ 0"],
    ["maxGradNorm", maxGradNorm ?? 1, (maxGradNorm ?? 1) > 0, "> 0, or undefined"],
  ]);
  return {
    moments: ["factored"],
    scalars: (layout, at) =>
      groupScalars(layout, at, ({ decay, rate }) => [
        1 - (decay ? at.lr * rate * weightDecay : 0),
        at.lr * rate,
        at.step ** decayRate,
      ]),
    update: (store, scalars) => {
      const { clip, gradNorm } = clipGradients(store, scalars, maxGradNorm);
      for (const name of store.names) updateParameter(store, name, { clip, scalars, threshold: clipThreshold });
      return { gradNorm };
    },
  };
}

function updateParameter(
  store: ParameterStore,
  name: string,
  { clip, scalars, threshold }: { clip: Tensor<"f32">; scalars: Tensor<"f32">; threshold: number },
): void {
  const { rows: rowMoments, columns: columnMoments } = store.factors(name);
  const { device, layout } = store;
  const [rows, cols] = [rowMoments.size, columnMoments.size];
  const views = store.slices(name);
  const slices = layout.slices.get(name)!.map(({ shard, start, shape, firstRow }, i) => ({
    ...views[i]!,
    params: {
      count: shape[0]!,
      cols,
      first: firstRow,
      group: layout.shards[shard]!.ranges.find((range) => start < range.start + range.size)!.group,
    },
  }));
  const { group } = slices[0]!.params;

  const blocks = slices.reduce((n, { params }) => n + rowBlocks(params.count), 0);
  const sums = scratch(device, blocks * cols, slices.length);
  let firstBlock = 0;
  for (const { gradients, params } of slices) {
    launch(adafactorRows, { params, reads: { gradients, clip, scalars }, updates: { rowMoments } });
    launch(adafactorColumnSums, {
      params: { ...params, first: firstBlock },
      reads: { gradients, clip },
      writes: { sums },
    });
    firstBlock += rowBlocks(params.count);
  }
  launch(adafactorColumns, {
    params: { blocks, rows, cols, group },
    reads: { sums, clip, scalars },
    updates: { columnMoments },
  });
  const meanRow = mean(rowMoments, rows);

  const squares = scratch(device, rows, slices.length);
  for (const { gradients, params } of slices)
    launch(adafactorSquares, {
      params,
      reads: { gradients, clip, rowMoments, columnMoments, meanRow },
      writes: { squares },
    });
  const meanSquare = mean(squares, rows * cols);
  for (const { values, gradients, params } of slices)
    launch(adafactorApply, {
      params: { ...params, threshold },
      reads: { clip, scalars, rowMoments, columnMoments, meanRow, meanSquare },
      updates: { values, gradients },
    });
  for (const tensor of [sums, meanRow, squares, meanSquare]) tensor.dispose();
}

/** Σ / count */
function mean(partials: Tensor<"f32">, count: number): Tensor<"f32"> {
  const out = empty(partials.device, [1]);
  launch(sumPartials, { params: { n: partials.size, scale: 1 / count }, reads: { partials }, writes: { out } });
  return out;
}

/** Room for `size` numbers that `parts` launches write, each a part of it; debug mode looks at the whole after each. */
function scratch(device: Device, size: number, parts: number): Tensor<"f32"> {
  const out = empty(device, [size]);
  if (parts > 1) launch(fill, { params: { n: size, value: 0 }, reads: {}, writes: { out } });
  return out;
}
