// Qwen3, dense: Llama with a norm over each head of q and k. https://arxiv.org/abs/2505.09388

import { defineArchitecture } from "../architecture.ts";
import type { Architecture } from "../architecture.ts";
import { MODEL_NAMES, parseActivation, parseCommon } from "./common.ts";
import { llamaBlock, llamaLayer } from "./llama.ts";
import { qwenWindows } from "./qwen2.ts";

export const qwen3: Architecture = defineArchitecture({
  name: "qwen3",
  names: MODEL_NAMES,
  parse: (read) => {
    const common = parseCommon(read, { architecture: "qwen3", headDim: 128 });
    const attentionBias = read.flag("attention_bias", false);
    return {
      ...common,
      activation: parseActivation(read, "hidden_act", "silu", ["silu", "gelu_tanh"]),
      qkvBias: attentionBias,
      outputBias: attentionBias,
      qkNorm: true,
      windows: qwenWindows(read, common.layers),
    };
  },
  layer: llamaLayer,
  block: llamaBlock,
});
