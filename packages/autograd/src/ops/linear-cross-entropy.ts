import {
  chunkGroups,
  crossEntropyRows,
  crossEntropyTermRows,
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
import type { DenseFormat, Indirect, MatmulArgs, Tensor, Weight } from "@tunesmith/tensor";
import { differentiable, isTracked, type Want } from "../tape.ts";
import { asHead, changedRowsBackward, type Head, headLogits } from "./changed-rows.ts";
import { defaultChunkRows } from "./chunk-rows.ts";
import { filled } from "./filled.ts";

export interface CrossEntropyTargets {
  /** i32 `[tokens]`: the id each position is to predict (labels already shifted); −100 where none */
  readonly targets: Tensor<"i32">;
  /** f32 `[tokens]`: weight of each target; finite everywhere */
  readonly weights: Tensor<"f32">;
  /** i32 `[tokens]`: the positions that have a target, ascending, then −1 up to the end */
  readonly rows: Tensor<"i32">;
  /** list entries per chunk, a multiple of 64; default by memory, see `defaultChunkRows` */
  readonly chunkRows?: number | undefined;
  /** logits become cap · tanh(logit / cap); > 0 */
  readonly softCap?: number | undefined;
  /** label smoothing ε in [0, 1): targets become (1 − ε) · onehot + ε / vocab, as in torch and transformers; default 0 */
  readonly labelSmoothing?: number | undefined;
  /** z-loss ≥ 0: adds z · logsumexp(logits)² to each target's loss (PaLM: 1e-4); default 0 */
  readonly zLoss?: number | undefined;
}

/**
 * Output projection and weighted cross-entropy in one: `loss = Σ_t w_t · CE(hidden_t · headᵀ, target_t)`, a sum that
 * nothing is divided by. Logits exist for one chunk of positions at a time, and only positions in `rows` are computed, in
 * whole tiles of the products: chunks without any run no workgroup, while the program and its memory do not depend on
 * their number.
 *
 * With a frozen head the gradient of `hidden` is formed together with the loss, chunk by chunk, and waits for backward;
 * with a trainable one backward computes the logits again, so that dHead goes straight into its sink.
 *
 * @param hidden - f32 `[tokens, dim]`, after the final norm
 * @param head - `[vocab, dim]` in any format; trainable if its shards' tensors are (f32). A head tied to the embedding
 *   shares tensor and sink with it. Changes to some of its rows train if their tensor does.
 * @returns `loss` f32 `[1]`, differentiable; `losses` f32 `[tokens]`, plain cross-entropy without weights, 0 where there is
 *   no target; with label smoothing or z-loss also `added` `[tokens]`, what they add to it. A
 *   target outside [0, vocab) counts as none; check targets on the host.
 * @throws {@link ShapeError} if head, targets, weights or rows does not fit hidden, or chunkRows is no multiple of 64;
 *   RangeError for labelSmoothing and zLoss
 * @see Hsu et al. 2024, "Liger Kernel", https://arxiv.org/abs/2410.10989, section 3.2
 * @see Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7 (label smoothing); Chowdhery et al. 2022, "PaLM",
 *   https://arxiv.org/abs/2204.02311, section 5 (z-loss)
 */
export function linearCrossEntropy(
  hidden: Tensor,
  head: Head | Weight | Tensor<DenseFormat>,
  options: CrossEntropyTargets,
): { loss: Tensor<"f32">; losses: Tensor<"f32">; added?: Tensor<"f32"> } {
  const { weights } = options;
  const output = asHead(head);
  const { weight, changed } = output;
  checkShapes(hidden, weight, options);
  const { device } = hidden;
  const [tokens, dim] = hidden.shape as [number, number];
  const shards = weight.shards.map((s) => s.tensor);
  const early = isTracked(hidden) && !shards.some(isTracked);

  const zeros = (): Tensor<"f32"> => filled(device, [tokens], 0);
  const losses = zeros();
  const added = hasTerms(options) ? zeros() : undefined;
  const dHidden = early ? filled(device, [tokens, dim], 0) : undefined;
  const dChanges =
    early && changed && isTracked(changed.changes) ? filled(device, changed.changes.shape, 0) : undefined;
  const one = filled(device, [1], 1);
  overChunks(hidden, output, options, { losses, added, dLoss: one, dHidden, dChanges });
  const loss = weightedSum(added ? [losses, added] : [losses], weights);

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
    overChunks(hidden, output, options, {
      losses: zeros(), // computed again, not needed again
      added: added && zeros(),
      dLoss,
      dHidden: fresh,
      dChanges: late,
      dShards,
    });
    return [fresh, ...(changed ? [returned(wantChanges, late)] : []), ...dShards.map((d, i) => returned(others[i], d))];
  });
  return { loss, losses, ...(added ? { added } : {}) };
}

function hasTerms({ labelSmoothing = 0, zLoss = 0 }: CrossEntropyTargets): boolean {
  return labelSmoothing > 0 || zLoss > 0;
}

function scaledBy(x: Tensor, factor: Tensor): Tensor {
  const out = empty(x.device, x.shape);
  launch(scaleByScalar, { params: { n: x.size, scale: 1 }, reads: { x, factor }, writes: { out } });
  return out;
}

/** What one run over the chunks computes: losses always, gradients where there is something to add them to. */
interface Results {
  readonly losses: Tensor;
  /** what label smoothing and z-loss add; absent without them */
  readonly added?: Tensor | undefined;
  readonly dLoss: Tensor;
  /** zeros `[tokens, dim]`, to be filled at rows with a target */
  readonly dHidden?: Tensor | undefined;
  /** f32 `[n, dim]` for the head's changed rows, to be added to */
  readonly dChanges?: Tensor | undefined;
  /** f32 `[rows, dim]` per shard of the head, to be added to */
  readonly dShards?: readonly (Tensor | undefined)[];
}

function overChunks(hidden: Tensor, head: Head, options: CrossEntropyTargets, results: Results): void {
  const { device } = hidden;
  const { targets, weights, rows, softCap, labelSmoothing = 0, zLoss = 0 } = options;
  const { losses, added, dLoss, dHidden, dChanges, dShards = [] } = results;
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
    const x = empty(device, [count, dim]);
    const logits = empty(device, [count, vocab]);
    launch(gatherRows, {
      spec: { format: "f32" },
      params: { count, dim, first_id: first, first_row: 0, rows: tokens },
      reads: { ids: rows, table: hidden },
      writes: { out: x },
      indirect: summed ? indirect : (perRow ?? indirect),
    });
    headLogits(x, head, logits, { indirect, rowTiles });
    const call = {
      spec: { gradient: dHidden !== undefined || summed, softCap: softCap !== undefined },
      params: { count, vocab, first, tokens, cap: softCap ?? 1, smoothing: labelSmoothing, z: zLoss },
      reads: { rows, targets, weights, dloss: dLoss },
      indirect: summed ? indirect : (perRow ?? indirect),
    };
    if (added) launch(crossEntropyTermRows, { ...call, updates: { logits, losses, added } });
    else launch(crossEntropyRows, { ...call, updates: { logits, losses } });
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

function checkShapes(hidden: Tensor, head: Weight, options: CrossEntropyTargets): void {
  const op = "linearCrossEntropy";
  const { targets, weights, rows, chunkRows = 64 } = options;
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
  for (const [arg, tensor] of Object.entries({ targets, weights, rows })) check(arg, tensor.shape, [tokens!]);
  const { labelSmoothing = 0, zLoss = 0 } = options;
  if (!(labelSmoothing >= 0 && labelSmoothing < 1))
    throw new RangeError(`${op}: labelSmoothing is ${labelSmoothing}, expected a number in [0, 1)`);
  if (!(zLoss >= 0 && zLoss < Infinity)) throw new RangeError(`${op}: zLoss is ${zLoss}, expected a number ≥ 0`);
  if (!(Number.isInteger(chunkRows) && chunkRows > 0 && chunkRows % 64 === 0))
    throw new ShapeError({
      op,
      arg: "chunkRows",
      received: [chunkRows],
      expected: ["a multiple of 64"],
      because: "chunks start at bindable offsets",
    });
}
