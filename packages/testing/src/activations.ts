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
