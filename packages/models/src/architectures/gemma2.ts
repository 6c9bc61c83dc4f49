// Gemma 2: norms before and after both parts of a layer, soft-capped scores and logits, every other layer with a
// sliding window, scores scaled by query_pre_attn_scalar instead of the head's size. https://arxiv.org/abs/2408.00118

import { add } from "@tunesmith/autograd";
import type { Tensor } from "@tunesmith/tensor";
import { defineArchitecture } from "../architecture.ts";
import type { Architecture, LayerContext } from "../architecture.ts";
import type { ModelConfig } from "../config.ts";
import type { ConfigReader } from "../config-reader.ts";
import { gatedMlp, gatedMlpTree, selfAttention, selfAttentionTree } from "../layers.ts";
import type { GatedMlp, SelfAttention } from "../layers.ts";
import { norm } from "../tree.ts";
import type { Linear, LinearSpec, Norm, NormSpec } from "../tree.ts";
import { MODEL_NAMES, parseSliding, parseWindow, perLayer } from "./common.ts";
import { parseGemma } from "./gemma.ts";

type Layer<N, L> = {
  readonly input_layernorm: N;
  readonly self_attn: SelfAttention<N, L>;
  readonly post_attention_layernorm: N;
  readonly pre_feedforward_layernorm: N;
  readonly mlp: GatedMlp<L>;
  readonly post_feedforward_layernorm: N;
};

export function gemma2Layer(c: ModelConfig): Layer<NormSpec, LinearSpec> {
  return {
    input_layernorm: norm(c.hiddenSize),
    self_attn: selfAttentionTree(c),
    post_attention_layernorm: norm(c.hiddenSize),
    pre_feedforward_layernorm: norm(c.hiddenSize),
    mlp: gatedMlpTree(c),
    post_feedforward_layernorm: norm(c.hiddenSize),
  };
}

export function gemma2Block(x: Tensor, p: Layer<Norm, Linear>, at: LayerContext): Tensor {
  const attended = selfAttention(x, p.input_layernorm, p.self_attn, at);
  const { sum, normed } = at.addNorm(x, at.norm(attended, p.post_attention_layernorm), p.pre_feedforward_layernorm);
  return add(sum, at.norm(gatedMlp(normed, p.mlp, at), p.post_feedforward_layernorm));
}

/** A cap that is off (null), or missing with this default. */
export function parseSoftCap(read: ConfigReader, key: string, fallback: number | undefined): number | undefined {
  if (!read.has(key)) return read.mentions(key) ? undefined : fallback;
  return read.positive(key);
}

export const gemma2: Architecture = defineArchitecture({
  name: "gemma2",
  names: MODEL_NAMES,
  parse: (read) => {
    const common = parseGemma(read, "gemma2");
    const window = parseWindow(read, 4096);
    const sliding = parseSliding(read, common.layers) ?? perLayer(common.layers, (i) => i % 2 === 0);
    return {
      ...common,
      windows: sliding.map((s) => (s ? window : undefined)),
      attentionScale: read.positive("query_pre_attn_scalar", 256) ** -0.5,
      attentionSoftCap: parseSoftCap(read, "attn_logit_softcapping", 50),
      logitSoftCap: parseSoftCap(read, "final_logit_softcapping", 30),
    };
  },
  layer: gemma2Layer,
  block: gemma2Block,
});
