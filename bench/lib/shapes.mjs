// Model shapes that are benchmarked, as the config.json that both sides read. Weights are random: nothing is downloaded.

/** @typedef {Readonly<Record<string, string | number | boolean>>} HuggingFaceConfig */

/**
 * @param {object} size
 * @param {number} size.dim
 * @param {number} size.layers
 * @param {number} size.heads
 * @param {number} size.kvHeads
 * @param {number} size.hidden
 * @param {number} size.vocab
 * @param {number} [size.headDim] default dim / heads
 * @param {boolean} [size.tied] default true
 * @param {string} [size.type] model_type; default llama
 * @param {number} [size.theta] default 10,000
 * @returns {HuggingFaceConfig}
 */
function decoder({ dim, layers, heads, kvHeads, hidden, vocab, headDim, tied = true, type = "llama", theta = 10_000 }) {
  return {
    model_type: type,
    hidden_size: dim,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    head_dim: headDim ?? dim / heads,
    intermediate_size: hidden,
    vocab_size: vocab,
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-5,
    rope_theta: theta,
    tie_word_embeddings: tied,
    hidden_act: "silu",
  };
}

/** From the published config.json of each model, cut to 8192 positions. */
export const SHAPES = {
  stories260k: decoder({ dim: 64, layers: 5, heads: 8, kvHeads: 4, hidden: 172, vocab: 512 }),
  stories15m: decoder({ dim: 288, layers: 6, heads: 6, kvHeads: 6, hidden: 768, vocab: 32_000 }),
  "smollm2-135m": decoder({
    dim: 576,
    layers: 30,
    heads: 9,
    kvHeads: 3,
    hidden: 1536,
    vocab: 49_152,
    theta: 100_000,
  }),
  "qwen2.5-0.5b": decoder({
    dim: 896,
    layers: 24,
    heads: 14,
    kvHeads: 2,
    hidden: 4864,
    vocab: 151_936,
    type: "qwen2",
    theta: 1_000_000,
  }),
  "llama-3.2-1b": decoder({
    dim: 2048,
    layers: 16,
    heads: 32,
    kvHeads: 8,
    headDim: 64,
    hidden: 8192,
    vocab: 128_256,
    theta: 500_000,
  }),
};

/** @typedef {keyof typeof SHAPES} ShapeName */

/**
 * @param {string} name
 * @returns {asserts name is ShapeName}
 */
export function assertShape(name) {
  if (!Object.hasOwn(SHAPES, name))
    throw new Error(`there is no shape ${name}; known: ${Object.keys(SHAPES).join(", ")}`);
}
