// GPT-2: learned positions, LayerNorm, weights stored [in, out] (Conv1D), q, k and v in one projection. Radford et al. 2019,
// "Language Models are Unsupervised Multitask Learners". Its dropout (0.1 in the published files) is not applied.

import { add, gelu } from "@tunesmith/autograd";
import { defineArchitecture } from "../architecture.ts";
import type { Architecture } from "../architecture.ts";
import { attendJoined } from "../layers.ts";
import { linear, norm } from "../tree.ts";
import { headDimOf, parseActivation, parseTokens, perLayer } from "./common.ts";

export const gpt2: Architecture = defineArchitecture({
  name: "gpt2",
  names: {
    prefix: "transformer.",
    embedding: "transformer.wte",
    positions: "transformer.wpe",
    layers: "transformer.h",
    norm: "transformer.ln_f",
    head: "lm_head",
    ignored: /\.attn\.(masked_)?bias$/,
  },
  parse: (read) => {
    const [hiddenSize, heads, layers] = [read.int("n_embd"), read.int("n_head"), read.int("n_layer")];
    const headDim = headDimOf(read, hiddenSize, heads);
    read.off("scale_attn_by_inverse_layer_idx");
    return {
      architecture: "gpt2",
      vocabSize: read.int("vocab_size"),
      hiddenSize,
      intermediateSize: read.int("n_inner", 4 * hiddenSize),
      layers,
      heads,
      kvHeads: heads,
      headDim,
      norm: "layer",
      normEps: read.number("layer_norm_epsilon", 1e-5),
      activation: parseActivation(read, "activation_function", "gelu_new", ["gelu", "gelu_tanh"]),
      maxPositions: read.int("n_positions", 1024),
      positionsAreBounded: true,
      learnedPositions: true,
      ropes: perLayer(layers, () => undefined),
      rotaryDim: headDim,
      windows: perLayer(layers, () => undefined),
      attentionScale: read.flag("scale_attn_weights", true) ? headDim ** -0.5 : 1,
      attentionSoftCap: undefined,
      logitSoftCap: undefined,
      embeddingScale: 1,
      tiedHead: read.flag("tie_word_embeddings", true),
      qkvBias: true,
      outputBias: true,
      mlpBias: true,
      qkNorm: false,
      parallelResidual: false,
      ...parseTokens(read),
    };
  },
  layer: (c) => ({
    ln_1: norm(c.hiddenSize, true),
    attn: {
      c_attn: linear(3 * c.hiddenSize, c.hiddenSize, true, "in_out"),
      c_proj: linear(c.hiddenSize, c.hiddenSize, true, "in_out"),
    },
    ln_2: norm(c.hiddenSize, true),
    mlp: {
      c_fc: linear(c.intermediateSize, c.hiddenSize, true, "in_out"),
      c_proj: linear(c.hiddenSize, c.intermediateSize, true, "in_out"),
    },
  }),
  block: (x, { ln_1, attn, ln_2, mlp }, at) => {
    const attended = attendJoined(at.project(at.norm(x, ln_1), attn.c_attn), at);
    const { sum, normed } = at.addNorm(x, at.project(attended, attn.c_proj), ln_2);
    const inner = gelu(at.project(normed, mlp.c_fc), at.config.activation === "gelu" ? "exact" : "tanh");
    return add(sum, at.project(inner, mlp.c_proj));
  },
});
