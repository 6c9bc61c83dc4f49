/**
 * Rotary position embedding in the half-split layout of Hugging Face's Llama: element i of the first half
 * of a head is paired with element i of the second half and turned by `position · inverseFrequencies[i]`
 * (Su et al. 2021, arXiv:2104.09864, which pairs neighbours instead).
 *
 * @param x - `[tokens, heads, headDim]`, headDim = 2 · the number of inverse frequencies
 * @param positions - `[tokens]`
 * @param inverseFrequencies - `[headDim / 2]`, radians per position; any rope scaling is already in them
 * @param heads - number of heads
 * @returns like `x`
 */
export function rope(
  x: ArrayLike<number>,
  positions: ArrayLike<number>,
  inverseFrequencies: ArrayLike<number>,
  heads: number,
): Float64Array {
  const half = inverseFrequencies.length;
  if (x.length !== positions.length * heads * 2 * half) {
    throw new RangeError(`rope: x has ${x.length} values, expected ${positions.length} · ${heads} · ${2 * half}`);
  }
  const out = new Float64Array(x.length);
  for (let token = 0; token < positions.length; token++) {
    for (let head = 0; head < heads; head++) {
      const start = (token * heads + head) * 2 * half;
      for (let i = 0; i < half; i++) {
        const angle = positions[token]! * inverseFrequencies[i]!;
        const first = x[start + i]!;
        const second = x[start + half + i]!;
        out[start + i] = first * Math.cos(angle) - second * Math.sin(angle);
        out[start + half + i] = second * Math.cos(angle) + first * Math.sin(angle);
      }
    }
  }
  return out;
}
