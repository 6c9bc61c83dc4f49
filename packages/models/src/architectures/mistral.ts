// Mistral 7B: Llama with a sliding window in every layer. https://arxiv.org/abs/2310.06825

import { defineArchitecture } from "../architecture.ts";
import type { Architecture } from "../architecture.ts";
import { MODEL_NAMES, parseActivation, parseCommon, parseSliding, parseWindow, perLayer } from "./common.ts";
import { llamaBlock, llamaLayer } from "./llama.ts";

export const mistral: Architecture = defineArchitecture({
  name: "mistral",
  names: MODEL_NAMES,
  parse: (read) => {
    const common = parseCommon(read, { architecture: "mistral" });
    const window = parseWindow(read, 4096);
    const sliding = parseSliding(read, common.layers);
    if (window !== undefined && sliding?.includes(false))
      read.unsupported(
        "layer_types",
        "full_attention",
        "a window in every layer; transformers calls the other ministral",
      );
    return {
      ...common,
      activation: parseActivation(read, "hidden_act", "silu", ["silu", "gelu_tanh"]),
      windows: perLayer(common.layers, () => window),
    };
  },
  layer: llamaLayer,
  block: llamaBlock,
});
