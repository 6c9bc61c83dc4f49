// Two small generators of our own: the tests of @tunesmith/core's Philox must not feed on it.

/** mulberry32 (Tommy Ettinger, public domain): u32 words from a u32 seed. */
function words(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

/**
 * `n` normal numbers (mean 0, standard deviation `scale`), the same for the same seed. Each is rounded
 * to float32, so that a device and a float64 reference start from the very same values.
 * @param seed - integer, taken modulo 2^32
 */
export function seededNormals(n: number, seed: number, scale: number = 1): Float64Array {
  const word = words(seed);
  const out = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    // Box–Muller; the first uniform lies in (0, 1] because its logarithm is taken
    const radius = Math.sqrt(-2 * Math.log((word() + 1) / 2 ** 32));
    out[i] = Math.fround(scale * radius * Math.cos((2 * Math.PI * word()) / 2 ** 32));
  }
  return out;
}

/** `n` integers in [low, high), the same for the same seed: token ids, positions, targets. */
export function seededIntegers(n: number, seed: number, low: number, high: number): Int32Array {
  const word = words(seed);
  return Int32Array.from({ length: n }, () => low + Math.floor((word() / 2 ** 32) * (high - low)));
}
