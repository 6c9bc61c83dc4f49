/**
 * Softmax over rows. An entry of −Infinity gets 0; a row of nothing but −Infinity gives NaN, as in torch.
 * @param x - `[rows, columns]`
 * @returns `[rows, columns]`, every row sums to 1
 */
export function softmax(x: ArrayLike<number>, columns: number): Float64Array {
  const out = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += columns) {
    let largest = -Infinity;
    for (let i = 0; i < columns; i++) largest = Math.max(largest, x[start + i]!);
    let sum = 0;
    for (let i = 0; i < columns; i++) sum += Math.exp(x[start + i]! - largest);
    for (let i = 0; i < columns; i++) out[start + i] = Math.exp(x[start + i]! - largest) / sum;
  }
  return out;
}
