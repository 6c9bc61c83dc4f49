/** Which operand is stored transposed: the letters stand for a and b, N as written, T transposed. */
export type MatmulLayout = "NN" | "NT" | "TN";

/**
 * Matrix product `c[m, n] = Σ_k a·b`.
 *
 * | layout | a | b | used for |
 * |---|---|---|---|
 * | NN | `[m, k]` | `[k, n]` | dX = dY · W |
 * | NT | `[m, k]` | `[n, k]` | Y = X · Wᵀ, W stored `[out, in]` |
 * | TN | `[k, m]` | `[k, n]` | dW = dYᵀ · X |
 *
 * @returns `[m, n]`
 * @throws RangeError if a or b does not have the size that m, k, n ask for
 */
export function matmul(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  size: { m: number; k: number; n: number },
  layout: MatmulLayout = "NN",
): Float64Array {
  const { m, k, n } = size;
  if (a.length !== m * k || b.length !== k * n) {
    throw new RangeError(`matmul: a has ${a.length} and b ${b.length} values, expected ${m * k} and ${k * n}`);
  }
  const out = new Float64Array(m * n);
  for (let row = 0; row < m; row++) {
    for (let column = 0; column < n; column++) {
      let sum = 0;
      for (let i = 0; i < k; i++) {
        const left = layout === "TN" ? a[i * m + row]! : a[row * k + i]!;
        const right = layout === "NT" ? b[column * k + i]! : b[i * n + column]!;
        sum += left * right;
      }
      out[row * n + column] = sum;
    }
  }
  return out;
}
