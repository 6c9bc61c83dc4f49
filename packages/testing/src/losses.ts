/**
 * Weighted cross-entropy, a sum and not a mean: `loss = Σ_t w_t · CE_t` with
 * `CE_t = log Σ_v exp(logits[t, v]) − logits[t, target_t]`. Targets are already shifted; −100 is ignored.
 *
 * @param logits - `[rows, vocab]`
 * @param targets - `[rows]`, each in [0, vocab) or −100
 * @param weights - `[rows]`; 1 everywhere where absent
 * @returns `loss`, and `losses` `[rows]`: CE_t without its weight, 0 where ignored
 * @throws RangeError for a target outside the vocabulary
 */
export function crossEntropy(
  logits: ArrayLike<number>,
  targets: ArrayLike<number>,
  weights?: ArrayLike<number>,
): { loss: number; losses: Float64Array } {
  const vocab = logits.length / targets.length;
  const losses = new Float64Array(targets.length);
  let loss = 0;
  for (let row = 0; row < targets.length; row++) {
    const target = targets[row]!;
    if (target === -100) continue;
    if (!(target >= 0 && target < vocab)) throw new RangeError(`crossEntropy: target ${target} in row ${row}`);
    let largest = -Infinity;
    for (let i = 0; i < vocab; i++) largest = Math.max(largest, logits[row * vocab + i]!);
    let sum = 0;
    for (let i = 0; i < vocab; i++) sum += Math.exp(logits[row * vocab + i]! - largest);
    losses[row] = largest + Math.log(sum) - logits[row * vocab + target]!;
    loss += (weights?.[row] ?? 1) * losses[row]!;
  }
  return { loss, losses };
}

/** Mean squared error over all elements: `Σ (x − y)² / n`. */
export function mse(x: ArrayLike<number>, y: ArrayLike<number>): number {
  if (x.length !== y.length) throw new RangeError(`mse: ${x.length} and ${y.length} values`);
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += (x[i]! - y[i]!) ** 2;
  return sum / x.length;
}
