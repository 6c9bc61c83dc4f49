import { empty, launch, ShapeError, tokenScores, viewOf } from "@tunesmith/tensor";
import type { DenseFormat, Tensor, Weight } from "@tunesmith/tensor";
import { asHead, type Head, headLogits } from "./changed-rows.ts";
import { defaultChunkRows } from "./chunk-rows.ts";
import { filled } from "./filled.ts";

/**
 * Log-probability of each target, whether it is the most likely token, and entropy of each distribution, for all
 * positions, a chunk of logits at a time.
 * Has no gradient: training goes through `linearCrossEntropy`.
 *
 * @param hidden - f32 `[tokens, dim]`, after the final norm
 * @param head - `[vocab, dim]` in any format
 * @param options.targets - i32 `[tokens]`: the id each position is to predict; −100 where none
 * @param options.chunkRows - positions per chunk, a multiple of 64; default by memory, see `defaultChunkRows`
 * @param options.softCap - logits become cap · tanh(logit / cap); > 0
 * @returns `logProbs` f32 `[tokens]`, 0 where the target is outside [0, vocab); `entropy` f32
 *   `[tokens]`; both in nats. `correct` f32 `[tokens]`: 1 where no token is likelier than the target, else 0
 * @throws {@link ShapeError} if head or targets does not fit hidden, or chunkRows is no multiple of 64
 */
export function scoreTokens(
  hidden: Tensor,
  head: Head | Weight | Tensor<DenseFormat>,
  options: { targets: Tensor<"i32">; chunkRows?: number | undefined; softCap?: number | undefined },
): { logProbs: Tensor<"f32">; entropy: Tensor<"f32">; correct: Tensor<"f32"> } {
  const output = asHead(head);
  const { weight } = output;
  const { targets, softCap } = options;
  const { device } = hidden;
  const [tokens = 0, dim = 0] = hidden.shape;
  const vocab = weight.shape[0];
  const chunkRows = options.chunkRows ?? defaultChunkRows(tokens, vocab, device.facts);
  const check = (
    arg: string,
    received: readonly number[],
    expected: readonly (number | string)[],
    ok: boolean,
  ): void => {
    if (ok) return;
    const because = `hidden is [${hidden.shape.join(", ")}]`;
    throw new ShapeError({ op: "scoreTokens", arg, received, expected, because });
  };
  check("hidden", hidden.shape, ["tokens", "dim"], hidden.shape.length === 2);
  check("head", weight.shape, [vocab, dim], weight.shape[1] === dim);
  check("targets", targets.shape, [tokens], targets.shape.length === 1 && targets.size === tokens);
  check("chunkRows", [chunkRows], ["a multiple of 64"], chunkRows > 0 && chunkRows % 64 === 0);

  const logProbs = filled(device, [tokens], 0);
  const entropy = filled(device, [tokens], 0);
  const correct = filled(device, [tokens], 0);
  for (let first = 0; first < tokens; first += chunkRows) {
    const count = Math.min(chunkRows, tokens - first);
    const logits = empty(device, [count, vocab]);
    headLogits(viewOf(hidden, first * dim, [count, dim]), output, logits);
    launch(tokenScores, {
      spec: { softCap: softCap !== undefined },
      params: { count, vocab, first, cap: softCap ?? 1 },
      reads: { logits, targets },
      updates: { log_probs: logProbs, entropy, correct },
    });
    logits.dispose();
  }
  return { logProbs, entropy, correct };
}
