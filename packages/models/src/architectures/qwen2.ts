// Qwen2 and Qwen2.5: Llama with biases on q, k and v. https://arxiv.org/abs/2407.10671, https://arxiv.org/abs/2412.15115

import { defineArchitecture } from "../architecture.ts";
import type { Architecture } from "../architecture.ts";
import type { ModelConfig } from "../config.ts";
import type { ConfigReader } from "../config-reader.ts";
import { MODEL_NAMES, parseActivation, parseCommon, parseSliding, parseWindow, perLayer } from "./common.ts";
import { llamaBlock, llamaLayer } from "./llama.ts";

/** The window counts only when switched on, and then from layer `max_window_layers` on. */
export function qwenWindows(read: ConfigReader, layers: number): ModelConfig["windows"] {
  if (!read.flag("use_sliding_window", false)) return perLayer(layers, () => undefined);
  const sliding = parseSliding(read, layers);
  const from = sliding ? 0 : read.int("max_window_layers");
  const window = parseWindow(read, 4096);
  return perLayer(layers, (i) => ((sliding ? sliding[i] : i >= from) ? window : undefined));
}

export const qwen2: Architecture = defineArchitecture({
  name: "qwen2",
  names: MODEL_NAMES,
  parse: (read) => {
    const common = parseCommon(read, { architecture: "qwen2" });
    return {
      ...common,
      activation: parseActivation(read, "hidden_act", "silu", ["silu", "gelu_tanh"]),
      qkvBias: true,
      windows: qwenWindows(read, common.layers),
    };
  },
  layer: llamaLayer,
  block: llamaBlock,
});
