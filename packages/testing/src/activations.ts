/** `x · sigmoid(x)`, elementwise (Elfwing et al. 2017, arXiv:1702.03118). */
export function silu(x: ArrayLike<number>): Float64Array {
  return Float64Array.from(x, (v) => v / (1 + Math.exp(-v)));
}

/** `silu(gate) · up`, elementwise: the gated unit of Llama's MLP (Shazeer 2020, arXiv:2002.05202). */
export function swiglu(gate: ArrayLike<number>, up: ArrayLike<number>): Float64Array {
  if (gate.length !== up.length) throw new RangeError(`swiglu: gate has ${gate.length} values, up ${up.length}`);
  return silu(gate).map((v, i) => v * up[i]!);
}

/**
 * GELU in its tanh form, elementwise: `x/2 · (1 + tanh(sqrt(2/π) · (x + 0.044715 x³)))`
 * (Hendrycks & Gimpel 2016, arXiv:1606.08415; torch `approximate="tanh"`, Hugging Face `gelu_new`).
 */
export function geluTanh(x: ArrayLike<number>): Float64Array {
  return Float64Array.from(x, (v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))));
}

/** GELU, elementwise: `x · Φ(x)`, Φ the distribution function of the normal distribution (arXiv:1606.08415). */
export function gelu(x: ArrayLike<number>): Float64Array {
  return Float64Array.from(x, (v) => v * normalDistribution(v));
}

/** Φ(x) to 1e-14: the power series of erf near 0, the continued fraction of erfc beyond (DLMF 7.6.1 and 7.9.1). */
function normalDistribution(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  let below: number; // Φ(−|x|)
  if (z < 2.5) {
    let sum = 0;
    let power = z;
    for (let n = 0; n < 60; n++) {
      sum += power / (2 * n + 1);
      power *= -(z * z) / (n + 1);
    }
    below = 0.5 - sum / Math.sqrt(Math.PI);
  } else {
    let fraction = 0;
    for (let n = 100; n > 0; n--) fraction = n / 2 / (z + fraction);
    below = (0.5 * Math.exp(-z * z)) / (Math.sqrt(Math.PI) * (z + fraction));
  }
  return x < 0 ? below : 1 - below;
}

/** `geluTanh(gate) · up`, elementwise: the gated unit of Gemma's MLP (Shazeer 2020, arXiv:2002.05202). */
export function geglu(gate: ArrayLike<number>, up: ArrayLike<number>): Float64Array {
  if (gate.length !== up.length) throw new RangeError(`geglu: gate has ${gate.length} values, up ${up.length}`);
  return geluTanh(gate).map((v, i) => v * up[i]!);
}
