// The square products that every rival computes: one set of numbers, and their product in float64.

/**
 * Standard normal numbers, roughly: sums of four uniforms (mulberry32), equal in every process.
 * @param {number} count
 * @param {number} seed
 */
export function normals(count, seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return Float32Array.from({ length: count }, () => (uniform() + uniform() + uniform() + uniform() - 2) * Math.sqrt(3));
}

/** @typedef {"f32" | "f16" | "bf16"} Format */

/**
 * The 16-bit words nearest to `values` (ties to even); all of normal size, as `normals` are but for a few near zero.
 * @param {Float32Array} values
 * @param {"f16" | "bf16"} format
 */
export function words(values, format) {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(bits, (word) => {
    if (format === "bf16") return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
    const sign = (word >>> 16) & 0x8000;
    const magnitude = (word & 0x7fffffff) - ((127 - 15) << 23);
    if (magnitude < 1 << 23) return sign; // below the smallest normal number of f16: zero
    return sign | ((magnitude + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  });
}

/**
 * What 16-bit words stand for.
 * @param {Uint16Array} halves
 * @param {"f16" | "bf16"} format
 */
export function meaning(halves, format) {
  return Float32Array.from(halves, (word) => {
    const [bits, bias] = format === "f16" ? [10, 15] : [7, 127];
    const exponent = (word & 0x7fff) >> bits;
    if (exponent === 0) return 0;
    return (word >> 15 ? -1 : 1) * 2 ** (exponent - bias) * (1 + (word & ((1 << bits) - 1)) / 2 ** bits);
  });
}

/**
 * a [n, n] · b [n, n] in float64.
 * @param {Float32Array} a
 * @param {Float32Array} b
 * @param {number} n
 */
export function product(a, b, n) {
  const c = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let k = 0; k < n; k++) {
      const x = a[i * n + k] ?? 0;
      for (let j = 0; j < n; j++) c[i * n + j] = (c[i * n + j] ?? 0) + x * (b[k * n + j] ?? 0);
    }
  return c;
}

/**
 * max |got − want| / max |want|.
 * @param {Float32Array} got
 * @param {Float64Array} want
 */
export function relativeError(got, want) {
  let [worst, largest] = [0, 0];
  for (const [i, w] of want.entries()) {
    const difference = Math.abs((got[i] ?? Number.NaN) - w);
    worst = difference <= worst ? worst : difference; // NaN wins
    largest = Math.max(largest, Math.abs(w));
  }
  return worst / largest;
}
