import { crossEntropyRows, crossEntropyTermRows, launch } from "@tunesmith/tensor";
import type { DenseFormat, Tensor, Weight } from "@tunesmith/tensor";
import { asHead, type Head } from "./changed-rows.ts";
import { checkLogitRows, lossOverLogits } from "./logit-loss.ts";

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
  const { targets, weights, rows, softCap, labelSmoothing = 0, zLoss = 0 } = options;
  const output = asHead(head);
  checkLogitRows("linearCrossEntropy", hidden, output.weight, { targets, weights, rows }, options.chunkRows);
  if (!(labelSmoothing >= 0 && labelSmoothing < 1))
    throw new RangeError(`linearCrossEntropy: labelSmoothing is ${labelSmoothing}, expected a number in [0, 1)`);
  if (!(zLoss >= 0 && zLoss < Infinity))
    throw new RangeError(`linearCrossEntropy: zLoss is ${zLoss}, expected a number ≥ 0`);
  const terms = labelSmoothing > 0 || zLoss > 0;
  const { loss, values } = lossOverLogits(hidden, output, options, terms ? 2 : 1, (chunk, [losses, added]) => {
    const { logits, dLoss, gradient, indirect } = chunk;
    const call = {
      spec: { gradient, softCap: softCap !== undefined },
      params: { ...chunk.params, cap: softCap ?? 1, smoothing: labelSmoothing, z: zLoss },
      reads: { rows, targets, weights, dloss: dLoss },
      indirect,
    };
    if (added) launch(crossEntropyTermRows, { ...call, updates: { logits, losses: losses!, added } });
    else launch(crossEntropyRows, { ...call, updates: { logits, losses: losses! } });
  });
  const [losses, added] = values;
  return { loss, losses: losses!, ...(added ? { added } : {}) };
}
