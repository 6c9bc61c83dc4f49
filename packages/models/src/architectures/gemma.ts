// Gemma 1: Llama with GELU gates, norms that multiply by 1 + weight and an embedding times √hidden.
// https://arxiv.org/abs/2403.08295

import { defineArchitecture } from "../architecture.ts";
import type { Architecture } from "../architecture.ts";
import type { ModelConfig } from "../config.ts";
import type { ConfigReader } from "../config-reader.ts";
import { MODEL_NAMES, parseActivation, parseCommon } from "./common.ts";
import { llamaBlock, llamaLayer } from "./llama.ts";

/** What all Gemmas have in common. */
export function parseGemma(
  read: ConfigReader,
  architecture: ModelConfig["architecture"],
  ropeTheta: number = 10_000,
): ModelConfig {
  const common = parseCommon(read, { architecture, headDim: 256, tiedHead: true, ropeTheta });
  const attentionBias = read.flag("attention_bias", false);
  return {
    ...common,
    norm: "rms_offset",
    activation: parseActivation(read, "hidden_activation", "gelu_pytorch_tanh", ["silu", "gelu_tanh"]),
    embeddingScale: Math.sqrt(common.hiddenSize),
    qkvBias: attentionBias,
    outputBias: attentionBias,
  };
}

export const gemma: Architecture = defineArchitecture({
  name: "gemma",
  names: MODEL_NAMES,
  parse: (read) => {
    // the first official files say "gelu" and mean its tanh form
    if (read.text("hidden_act", "gelu") !== "gelu") parseActivation(read, "hidden_act", "gelu", ["gelu_tanh"]);
    return parseGemma(read, "gemma");
  },
  layer: llamaLayer,
  block: llamaBlock,
});
