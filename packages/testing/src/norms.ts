/**
 * RMSNorm over rows: `y = x / sqrt(mean(x²) + eps) · weight` (Zhang & Sennrich 2019, arXiv:1910.07467).
 * @param x - `[rows, dim]`
 * @param weight - `[dim]`; its length is `dim`
 * @returns `[rows, dim]`
 */
export function rmsNorm(x: ArrayLike<number>, weight: ArrayLike<number>, eps: number): Float64Array {
  const dim = weight.length;
  const out = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += dim) {
    let squares = 0;
    for (let i = 0; i < dim; i++) squares += x[start + i]! ** 2;
    const scale = 1 / Math.sqrt(squares / dim + eps);
    for (let i = 0; i < dim; i++) out[start + i] = x[start + i]! * scale * weight[i]!;
  }
  return out;
}

/**
 * Layer normalization over rows: `y = (x − mean) / sqrt(variance + eps) · weight + bias`, with the biased
 * variance (Ba et al. 2016, arXiv:1607.06450; torch.nn.LayerNorm).
 * @param x - `[rows, dim]`
 * @param weight - `[dim]`; its length is `dim`
 * @param bias - `[dim]` or undefined
 * @returns `[rows, dim]`
 */
export function layerNorm(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: ArrayLike<number> | undefined,
  eps: number,
): Float64Array {
  const dim = weight.length;
  const out = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += dim) {
    let sum = 0;
    for (let i = 0; i < dim; i++) sum += x[start + i]!;
    const mean = sum / dim;
    let squares = 0;
    for (let i = 0; i < dim; i++) squares += (x[start + i]! - mean) ** 2;
    const scale = 1 / Math.sqrt(squares / dim + eps);
    for (let i = 0; i < dim; i++) {
      out[start + i] = (x[start + i]! - mean) * scale * weight[i]! + (bias?.[i] ?? 0);
    }
  }
  return out;
}
