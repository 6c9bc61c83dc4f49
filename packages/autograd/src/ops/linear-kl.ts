import { klRows, launch, ShapeError } from "@tunesmith/tensor";
import type { DenseFormat, Tensor, Weight } from "@tunesmith/tensor";
import { asHead, type Head } from "./changed-rows.ts";
import { checkLogitRows, type LogitRowOptions, lossOverLogits } from "./logit-loss.ts";

/**
 * Output projection and the divergence from another model's distributions in one: `loss = Σ_t w_t · KL(q_t ‖ p_t)` with
 * p = softmax(hidden · headᵀ), and q likewise of the reference, over the positions in `rows`. Logits of both exist for one chunk
 * of positions at a time, see `linearCrossEntropy`.
 *
 * @param hidden - f32 `[tokens, dim]`, after the final norm
 * @param head - `[vocab, dim]` in any format; trainable if its shards' tensors are (f32)
 * @param reference - hidden states and head of the other model, with the same vocabulary; takes no gradient
 * @param options.softCap - logits of both become cap · tanh(logit / cap); > 0
 * @returns `loss` f32 `[1]`, differentiable; `divergences` f32 `[tokens]` in nats without weights, 0 at positions not listed
 * @throws {@link ShapeError} if head, reference, weights or rows does not fit hidden, or chunkRows is no multiple of 64
 */
export function linearKl(
  hidden: Tensor,
  head: Head | Weight | Tensor<DenseFormat>,
  reference: { readonly hidden: Tensor; readonly head: Head | Weight | Tensor<DenseFormat> },
  options: LogitRowOptions & { readonly softCap?: number | undefined },
): { loss: Tensor<"f32">; divergences: Tensor<"f32"> } {
  const { weights, rows, softCap } = options;
  const [own, other] = [asHead(head), asHead(reference.head)];
  checkLogitRows("linearKl", hidden, own.weight, { weights, rows }, options.chunkRows);
  checkLogitRows("linearKl", reference.hidden, other.weight, { weights, rows });
  if (other.weight.shape[0] !== own.weight.shape[0])
    throw new ShapeError({
      op: "linearKl",
      arg: "reference.head",
      received: other.weight.shape,
      expected: [own.weight.shape[0], "dim"],
      because: "distributions over one vocabulary are compared",
    });
  const { loss, values } = lossOverLogits(hidden, own, options, 1, (chunk, [divergences]) => {
    const { logits, params, gradient, dLoss, indirect } = chunk;
    const theirs = chunk.project(reference.hidden, other);
    launch(klRows, {
      spec: { gradient, softCap: softCap !== undefined },
      params: { ...params, cap: softCap ?? 1 },
      reads: { rows, weights, dloss: dLoss, reference: theirs },
      updates: { logits, divergences: divergences! },
      indirect,
    });
    theirs.dispose();
  });
  return { loss, divergences: values[0]! };
}
