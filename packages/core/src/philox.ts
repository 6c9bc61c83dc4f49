// Philox 4x32-10: random numbers as a pure function of (counter, key), so that a value at
// (seed, step, site, index) is the same whatever was drawn before it.
// Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". Test vectors: Random123 kat_vectors.

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

/** High 32 bits of the 64-bit product of two unsigned 32-bit numbers. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const low = aLow * bLow;
  const mid1 = aHigh * bLow + (low >>> 16);
  const mid2 = aLow * bHigh + (mid1 & 0xffff);
  return (aHigh * bHigh + Math.floor(mid1 / 0x10000) + Math.floor(mid2 / 0x10000)) >>> 0;
}

/**
 * Four random unsigned 32-bit words for one counter and key.
 * @param counter - four u32 words; here (index, position, site, step) by convention
 * @param key - two u32 words: the seed, low word first
 */
export function philox4x32(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(M0, c0);
    const low0 = Math.imul(M0, c0) >>> 0;
    const high1 = mulHigh(M1, c2);
    const low1 = Math.imul(M1, c2) >>> 0;
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** A float64 in [0, 1) from 53 random bits at (seed, site, step, index). `seed` may be any safe integer ≥ 0. */
export function uniform(seed: number, site: number, step: number, index: number): number {
  const [high, low] = philox4x32(
    [index >>> 0, Math.floor(index / 2 ** 32) >>> 0, site >>> 0, step >>> 0],
    [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0],
  );
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
}

/** A standard normal number by Box and Muller; `index` uses up two of {@link uniform}'s. */
export function normal(seed: number, site: number, step: number, index: number): number {
  const radius = Math.sqrt(-2 * Math.log(1 - uniform(seed, site, step, 2 * index)));
  return radius * Math.cos(2 * Math.PI * uniform(seed, site, step, 2 * index + 1));
}

/** An integer in [0, n) at (seed, site, step, index), 1 ≤ n ≤ 2^53; its bias is below n / 2^53. */
export function uniformInt(n: number, seed: number, site: number, step: number, index: number): number {
  return Math.floor(uniform(seed, site, step, index) * n);
}
