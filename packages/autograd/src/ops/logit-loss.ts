// Weighted sums over positions of what a kernel makes of their logits, without ever forming `[tokens, vocab]`: a chunk of
// positions at a time, forward and backward.

import {
  chunkGroups,
  dotPartials,
  empty,
  gatherRows,
  launch,
  matmul,
  partialCount,
  scaleByScalar,
  scatterRows,
  ShapeError,
  sumPartials,
  viewOf,
} from "@tunesmith/tensor";
import type { Indirect, MatmulArgs, Tensor, Weight } from "@tunesmith/tensor";
import { differentiable, isTracked, type Want } from "../tape.ts";
import { changedRowsBackward, type Head, headLogits } from "./changed-rows.ts";
import { defaultChunkRows } from "./chunk-rows.ts";
import { filled } from "./filled.ts";

/** Which positions count, and how much. */
export interface LogitRowOptions {
  /** f32 `[tokens]` */
  readonly weights: Tensor<"f32">;
  /** i32 `[tokens]`: positions, ascending, then −1 up to the end */
  readonly rows: Tensor<"i32">;
  /** list entries per chunk, a multiple of 64; default by memory, see `defaultChunkRows` */
  readonly chunkRows?: number | undefined;
}

/** A chunk of positions on its way. */
export interface LogitChunk {
  /** f32 `[count, vocab]`; with `gradient` to be replaced by the gradient: 0 where the list has no position */
  readonly logits: Tensor;
  readonly params: { readonly count: number; readonly vocab: number; readonly first: number; readonly tokens: number };
  readonly gradient: boolean;
  /** f32 `[1]`: what the gradient is multiplied with */
  readonly dLoss: Tensor;
  /** of a kernel with a workgroup per row */
  readonly indirect: Indirect;
  /** Logits of the same positions for other hidden states `[tokens, dim]` and another head; the caller frees them. */
  project(hidden: Tensor, head: Head): Tensor;
}

/**
 * `loss = Σ_t weights_t · (values_t of all kinds)` over the positions in `rows`. With a frozen head the gradient of `hidden` is
 * formed together with the loss, chunk by chunk, and waits for backward; with a trainable one backward computes the logits
 * again, so that dHead goes straight into its sink.
 *
 * @param kinds - number of values per position
 * @param launchRows - launches what fills `values` (each f32 `[tokens]`, zeros before) and turns logits into their gradient
 */
export function lossOverLogits(
  hidden: Tensor,
  head: Head,
  options: LogitRowOptions,
  kinds: number,
  launchRows: (chunk: LogitChunk, values: readonly Tensor<"f32">[]) => void,
): { loss: Tensor<"f32">; values: readonly Tensor<"f32">[] } {
  const { weight, changed } = head;
  const { device } = hidden;
  const [tokens, dim] = hidden.shape as [number, number];
  const shards = weight.shards.map((s) => s.tensor);
  const early = isTracked(hidden) && !shards.some(isTracked);

  const zeros = (): Tensor<"f32">[] => Array.from({ length: kinds }, () => filled(device, [tokens], 0));
  const values = zeros();
  const dHidden = early ? filled(device, [tokens, dim], 0) : undefined;
  const dChanges =
    early && changed && isTracked(changed.changes) ? filled(device, changed.changes.shape, 0) : undefined;
  const one = filled(device, [1], 1);
  overChunks(hidden, head, options, { dLoss: one, dHidden, dChanges }, (chunk) => launchRows(chunk, values));
  const loss = weightedSum(values, options.weights);

  const inputs = [hidden, ...(changed ? [changed.changes] : []), ...shards];
  differentiable({ inputs, outputs: [loss] }, ([dOutput], wants) => {
    const dLoss = dOutput!;
    const [wantHidden, ...others] = wants;
    const wantChanges = changed && others.shift();
    if (dHidden)
      return [
        wantHidden ? scaledBy(dHidden, dLoss) : undefined,
        ...(changed ? [dChanges && wantChanges ? scaledBy(dChanges, dLoss) : undefined] : []),
        ...shards.map(() => undefined),
      ];
    const fresh = wantHidden ? filled(device, hidden.shape, 0) : undefined;
    /** where to add: the sink that is wanted, or zeros, which are returned */
    const sink = (want: Want | undefined, { shape }: Tensor): Tensor | undefined =>
      want === true ? filled(device, shape, 0) : want || undefined;
    const returned = (want: Want | undefined, d: Tensor | undefined): Tensor | undefined =>
      want === true ? d : undefined;
    const dShards = shards.map((shard, i) => sink(others[i], shard));
    const late = changed && sink(wantChanges, changed.changes);
    const again = zeros(); // not needed again
    overChunks(hidden, head, options, { dLoss, dHidden: fresh, dChanges: late, dShards }, (chunk) =>
      launchRows(chunk, again),
    );
    return [fresh, ...(changed ? [returned(wantChanges, late)] : []), ...dShards.map((d, i) => returned(others[i], d))];
  });
  return { loss, values };
}

function scaledBy(x: Tensor, factor: Tensor): Tensor {
  const out = empty(x.device, x.shape);
  launch(scaleByScalar, { params: { n: x.size, scale: 1 }, reads: { x, factor }, writes: { out } });
  return out;
}

/** Where one run over the chunks adds gradients, where there is something to add them to. */
interface Gradients {
  readonly dLoss: Tensor;
  /** zeros `[tokens, dim]`, to be filled at the listed positions */
  readonly dHidden?: Tensor | undefined;
  /** f32 `[n, dim]` for the head's changed rows, to be added to */
  readonly dChanges?: Tensor | undefined;
  /** f32 `[rows, dim]` per shard of the head, to be added to */
  readonly dShards?: readonly (Tensor | undefined)[];
}

function overChunks(
  hidden: Tensor,
  head: Head,
  options: LogitRowOptions,
  { dLoss, dHidden, dChanges, dShards = [] }: Gradients,
  launchRows: (chunk: LogitChunk) => void,
): void {
  const { device } = hidden;
  const { rows } = options;
  const { weight, changed } = head;
  const [tokens, dim] = hidden.shape as [number, number];
  const vocab = weight.shape[0];
  const chunkRows = options.chunkRows ?? defaultChunkRows(tokens, vocab, device.facts);
  const chunks = Math.ceil(tokens / chunkRows);
  const gate = chunkGates(rows, chunks, chunkRows);
  // the gradient of the head is a sum over all rows of a chunk: those without a token must be zeros there
  const summed = dChanges !== undefined || dShards.some(Boolean);
  for (let chunk = 0; chunk < chunks; chunk++) {
    const first = chunk * chunkRows;
    const count = Math.min(chunkRows, tokens - first);
    const { indirect, rowTiles } = gate(chunk);
    const perRow = rowTiles?.(1, 1);
    const ofRows = summed ? indirect : (perRow ?? indirect);
    const gathered = (table: Tensor): Tensor => {
      const x = empty(device, [count, table.shape[1]!]);
      launch(gatherRows, {
        spec: { format: "f32" },
        params: { count, dim: table.shape[1]!, first_id: first, first_row: 0, rows: tokens },
        reads: { ids: rows, table },
        writes: { out: x },
        indirect: ofRows,
      });
      return x;
    };
    const project = (x: Tensor, of: Head): Tensor => {
      const logits = empty(device, [count, vocab]);
      headLogits(x, of, logits, { indirect, rowTiles });
      return logits;
    };
    const x = gathered(hidden);
    const logits = project(x, head);
    launchRows({
      logits,
      params: { count, vocab, first, tokens },
      gradient: dHidden !== undefined || summed,
      dLoss,
      indirect: ofRows,
      project: (other, of) => {
        const own = gathered(other);
        const projected = project(own, of);
        own.dispose();
        return projected;
      },
    });
    const dx = dHidden && empty(device, [count, dim]);
    if (dx) matmul({ layout: "nn", a: logits, b: weight, out: dx, indirect, rowTiles });
    if (changed && (dx || dChanges))
      changedRowsBackward(changed, { x, dLogits: logits }, { dx, dChanges }, { indirect, rowTiles });
    if (dx) {
      launch(scatterRows, {
        params: { count, dim, first_id: first, rows: tokens },
        reads: { source: dx, ids: rows },
        updates: { table: dHidden! },
        indirect: perRow ?? indirect,
      });
      dx.dispose();
    }
    for (const [i, { firstRow }] of weight.shards.entries()) {
      const out = dShards[i];
      if (out) matmul({ layout: "tn", a: logits, b: x, out, firstRow, accumulate: true, indirect });
    }
    x.dispose();
    logits.dispose();
  }
}

/** How the dispatches of a chunk learn what there is to do. */
interface Gate {
  /** all of a launch, or nothing where the chunk is empty */
  readonly indirect: Indirect;
  /** as many rows as the chunk has tokens; absent where outputs are scanned whole, in debug mode */
  readonly rowTiles: MatmulArgs["rowTiles"];
}

/** One small dispatch per distinct workgroup count or tile writes the arguments of all chunks. */
function chunkGates(rows: Tensor, chunks: number, chunkRows: number): (chunk: number) => Gate {
  const { device } = rows;
  const known = new Map<string, Tensor<"u32">>();
  const counts = (chunk: number, tile: number, x: number, y: number): Tensor<"u32"> => {
    const key = `${tile},${x},${y}`;
    let args = known.get(key);
    if (!args) {
      args = empty(device, [chunks, 64], "u32");
      known.set(key, args);
      launch(chunkGroups, {
        params: { count: rows.size, chunks, chunk_rows: chunkRows, tile, x, y },
        reads: { rows },
        writes: { args },
      });
    }
    return viewOf(args, chunk * 64, [3]);
  };
  return (chunk) => ({
    indirect: ([x, y]) => counts(chunk, 0, x, y),
    rowTiles: device.finite ? undefined : (tile, y) => counts(chunk, tile, 0, y),
  });
}

/** Σ_t weights_t · (values_t of all) */
function weightedSum(values: readonly Tensor[], weights: Tensor): Tensor<"f32"> {
  const n = weights.size;
  const each = partialCount(n);
  const partials =
    values.length > 1 ? filled(weights.device, [values.length * each], 0) : empty(weights.device, [each]);
  const sum = empty(weights.device, [1]);
  for (const [i, a] of values.entries())
    launch(dotPartials, { params: { n, first: i * each }, reads: { a, b: weights }, writes: { partials } });
  launch(sumPartials, {
    params: { n: values.length * each, scale: 1 },
    reads: { partials },
    writes: { out: sum },
  });
  return sum;
}

/** @throws {@link ShapeError} if head, one of the lists or chunkRows does not fit hidden */
export function checkLogitRows(
  op: string,
  hidden: Tensor,
  head: Weight,
  lists: Readonly<Record<string, Tensor>>,
  chunkRows: number = 64,
): void {
  const [tokens, dim] = hidden.shape;
  const because = `hidden is [${hidden.shape.join(", ")}]`;
  if (hidden.shape.length !== 2)
    throw new ShapeError({
      op,
      arg: "hidden",
      received: hidden.shape,
      expected: ["tokens", "dim"],
      because: "activations have no batch dimension",
    });
  const check = (arg: string, received: readonly number[], expected: readonly number[]): void => {
    if (received.join() !== expected.join()) throw new ShapeError({ op, arg, received, expected, because });
  };
  check("head", head.shape, [head.shape[0], dim!]);
  for (const [arg, tensor] of Object.entries(lists)) check(arg, tensor.shape, [tokens!]);
  if (!(Number.isInteger(chunkRows) && chunkRows > 0 && chunkRows % 64 === 0))
    throw new ShapeError({
      op,
      arg: "chunkRows",
      received: [chunkRows],
      expected: ["a multiple of 64"],
      because: "chunks start at bindable offsets",
    });
}
