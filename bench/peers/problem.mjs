// The two training problems that all peers share, with the same bits of data and weights: an MLP and a 2-layer pre-LN
// transformer without biases. Losses of a correct implementation agree to 1e-4 (jax-js 0.1.25 and tfjs 4.22 do to 1e-5).

/**
 * mulberry32
 * @param {number} seed
 */
function generator(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * Sum of four uniforms, scaled to unit variance: f32 `[n]`.
 * @param {number} n
 * @param {number} seed
 * @param {number} scale standard deviation
 */
function normals(n, seed, scale = 1) {
  const next = generator(seed);
  return Float32Array.from({ length: n }, () => (next() + next() + next() + next() - 2) * Math.sqrt(3) * scale);
}

/**
 * i32 `[n]` in [0, below)
 * @param {number} n
 * @param {number} seed
 * @param {number} below
 */
function integers(n, seed, below) {
  const next = generator(seed);
  return Int32Array.from({ length: n }, () => Math.floor(next() * below));
}

/** @typedef {Record<string, { shape: readonly number[], values: Float32Array }>} Parameters */

export const MLP = { batch: 128, dim: 256, hidden: 1024, steps: 12, lr: 1e-3 };

/**
 * Weights are `[in, out]`.
 * @returns {Parameters}
 */
export function mlpParameters() {
  const { dim, hidden } = MLP;
  return {
    w1: { shape: [dim, hidden], values: normals(dim * hidden, 11, dim ** -0.5) },
    b1: { shape: [hidden], values: new Float32Array(hidden) },
    w2: { shape: [hidden, dim], values: normals(hidden * dim, 12, hidden ** -0.5) },
    b2: { shape: [dim], values: new Float32Array(dim) },
  };
}

export function mlpData() {
  const { batch, dim } = MLP;
  return { x: normals(batch * dim, 21), y: normals(batch * dim, 22) };
}

export const TRANSFORMER = {
  vocab: 256,
  length: 64,
  batch: 4,
  dim: 128,
  heads: 4,
  ffn: 512,
  layers: 2,
  steps: 8,
  lr: 1e-3,
};

/**
 * Weights of projections are `[in, out]`.
 * @returns {Parameters}
 */
export function transformerParameters() {
  const { vocab, length, dim, ffn, layers } = TRANSFORMER;
  /** @type {Parameters} */
  const parameters = {};
  let seed = 100;
  parameters["wte"] = { shape: [vocab, dim], values: normals(vocab * dim, seed++, 0.02) };
  parameters["wpe"] = { shape: [length, dim], values: normals(length * dim, seed++, 0.02) };
  for (let layer = 0; layer < layers; layer++) {
    parameters[`h${layer}.ln1`] = { shape: [dim], values: new Float32Array(dim).fill(1) };
    for (const name of ["q", "k", "v", "o"])
      parameters[`h${layer}.${name}`] = { shape: [dim, dim], values: normals(dim * dim, seed++, 0.02) };
    parameters[`h${layer}.ln2`] = { shape: [dim], values: new Float32Array(dim).fill(1) };
    parameters[`h${layer}.up`] = { shape: [dim, ffn], values: normals(dim * ffn, seed++, 0.02) };
    parameters[`h${layer}.down`] = { shape: [ffn, dim], values: normals(ffn * dim, seed++, 0.02) };
  }
  parameters["lnf"] = { shape: [dim], values: new Float32Array(dim).fill(1) };
  parameters["head"] = { shape: [dim, vocab], values: normals(dim * vocab, seed++, 0.02) };
  return parameters;
}

/** Inputs and next tokens, [batch · length] each. */
export function transformerData() {
  const { vocab, length, batch } = TRANSFORMER;
  const tokens = integers(batch * (length + 1), 77, vocab);
  const at = (/** @type {number} */ offset) =>
    Int32Array.from(
      { length: batch * length },
      (_, i) => tokens[Math.floor(i / length) * (length + 1) + (i % length) + offset] ?? 0,
    );
  return { x: at(0), y: at(1) };
}

/** Losses per step as published runs of both peers gave them on software Vulkan (they agree to 1e-5). */
export const PEER_LOSSES = {
  mlp: [1.4474, 1.25415, 1.12092, 1.01032, 0.908, 0.81139, 0.7218, 0.64058, 0.56792, 0.50315, 0.44528, 0.39339],
  transformer: [5.58176, 5.12701, 4.75176, 4.45975, 4.22868, 4.03617, 3.86095, 3.69889],
};
