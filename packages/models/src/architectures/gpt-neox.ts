// GPT-NeoX and Pythia: LayerNorm, q, k and v of each head side by side in one projection, a quarter of each head turned,
// attention and feed-forward part beside each other. https://arxiv.org/abs/2204.06745, https://arxiv.org/abs/2304.01373

import { add, gelu, splitColumns } from "@tunesmith/autograd";
import type { Tensor } from "@tunesmith/tensor";
import { defineArchitecture } from "../architecture.ts";
import type { Architecture } from "../architecture.ts";
import { linear, norm } from "../tree.ts";
import { headDimOf, parseActivation, parseRotary, parseTokens, perLayer } from "./common.ts";

export const gptNeox: Architecture = defineArchitecture({
  name: "gpt_neox",
  names: {
    prefix: "gpt_neox.",
    embedding: "gpt_neox.embed_in",
    layers: "gpt_neox.layers",
    norm: "gpt_neox.final_layer_norm",
    head: "embed_out",
    ignored: /\.attention\.((masked_)?bias|rotary_emb\.inv_freq)$/,
  },
  parse: (read) => {
    const [hiddenSize, heads] = [read.int("hidden_size"), read.int("num_attention_heads")];
    const layers = read.int("num_hidden_layers");
    const headDim = headDimOf(read, hiddenSize, heads);
    const attentionBias = read.flag("attention_bias", true);
    return {
      architecture: "gpt_neox",
      vocabSize: read.int("vocab_size"),
      hiddenSize,
      intermediateSize: read.int("intermediate_size"),
      layers,
      heads,
      kvHeads: heads,
      headDim,
      norm: "layer",
      normEps: read.number("layer_norm_eps", 1e-5),
      activation: parseActivation(read, "hidden_act", "gelu", ["gelu", "gelu_tanh"]),
      learnedPositions: false,
      ...parseRotary(read, {
        layers,
        headDim,
        maxPositions: read.int("max_position_embeddings", 2048),
        ropeTheta: read.positive("rotary_emb_base", 10_000),
        rotaryPart: read.number("rotary_pct", 0.25),
      }),
      windows: perLayer(layers, () => undefined),
      attentionScale: headDim ** -0.5,
      attentionSoftCap: undefined,
      logitSoftCap: undefined,
      embeddingScale: 1,
      tiedHead: read.flag("tie_word_embeddings", false),
      qkvBias: attentionBias,
      outputBias: attentionBias,
      mlpBias: true,
      qkNorm: false,
      parallelResidual: read.flag("use_parallel_residual", true),
      ...parseTokens(read),
    };
  },
  layer: (c) => ({
    input_layernorm: norm(c.hiddenSize, true),
    post_attention_layernorm: norm(c.hiddenSize, true),
    attention: {
      query_key_value: linear(3 * c.hiddenSize, c.hiddenSize, c.qkvBias),
      dense: linear(c.hiddenSize, c.hiddenSize, c.outputBias),
    },
    mlp: {
      dense_h_to_4h: linear(c.intermediateSize, c.hiddenSize, true),
      dense_4h_to_h: linear(c.hiddenSize, c.intermediateSize, true),
    },
  }),
  block: (x, { input_layernorm, post_attention_layernorm, attention, mlp }, at) => {
    const { heads, headDim: d, activation, parallelResidual } = at.config;
    const qkv = at.project(at.norm(x, input_layernorm), attention.query_key_value);
    const [q, k, v] = splitColumns(qkv, [d, d, d], heads);
    const attended = at.project(at.attend(at.rotate(q!, heads), at.rotate(k!, heads), v!), attention.dense);
    const feed = (y: Tensor): Tensor => {
      const inner = at.project(y, mlp.dense_h_to_4h);
      return at.project(gelu(inner, activation === "gelu" ? "exact" : "tanh"), mlp.dense_4h_to_h);
    };
    if (parallelResidual) return add(add(x, attended), feed(at.norm(x, post_attention_layernorm)));
    const { sum, normed } = at.addNorm(x, attended, post_attention_layernorm);
    return add(sum, feed(normed));
  },
});
