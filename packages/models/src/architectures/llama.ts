// Llama 1 to 3: https://arxiv.org/abs/2302.13971, https://arxiv.org/abs/2407.21783. Its layer is also that of Mistral, Qwen2, Qwen3,
// SmolLM3 and Gemma, which differ in what the config says.

import { add } from "@tunesmith/autograd";
import type { Tensor } from "@tunesmith/tensor";
import { defineArchitecture } from "../architecture.ts";
import type { Architecture, LayerContext } from "../architecture.ts";
import type { ModelConfig } from "../config.ts";
import { gatedMlp, gatedMlpTree, selfAttention, selfAttentionTree } from "../layers.ts";
import type { GatedMlp, SelfAttention } from "../layers.ts";
import { norm } from "../tree.ts";
import type { Linear, LinearSpec, Norm, NormSpec } from "../tree.ts";
import { MODEL_NAMES, parseActivation, parseCommon } from "./common.ts";

type Layer<N, L> = {
  readonly input_layernorm: N;
  readonly self_attn: SelfAttention<N, L>;
  readonly post_attention_layernorm: N;
  readonly mlp: GatedMlp<L>;
};

export function llamaLayer(c: ModelConfig): Layer<NormSpec, LinearSpec> {
  return {
    input_layernorm: norm(c.hiddenSize),
    self_attn: selfAttentionTree(c),
    post_attention_layernorm: norm(c.hiddenSize),
    mlp: gatedMlpTree(c),
  };
}

export function llamaBlock(x: Tensor, p: Layer<Norm, Linear>, at: LayerContext): Tensor {
  const attended = selfAttention(x, p.input_layernorm, p.self_attn, at);
  const { sum, normed } = at.addNorm(x, attended, p.post_attention_layernorm);
  return add(sum, gatedMlp(normed, p.mlp, at));
}

export const llama: Architecture = defineArchitecture({
  name: "llama",
  names: MODEL_NAMES,
  parse: (read) => {
    const attentionBias = read.flag("attention_bias", false);
    return {
      ...parseCommon(read, { architecture: "llama", kvHeads: (heads) => heads }),
      activation: parseActivation(read, "hidden_act", "silu", ["silu", "gelu_tanh"]),
      qkvBias: attentionBias,
      outputBias: attentionBias,
      mlpBias: read.flag("mlp_bias", false),
    };
  },
  layer: llamaLayer,
  block: llamaBlock,
});
