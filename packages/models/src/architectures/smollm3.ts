// SmolLM3: Llama where some layers (every fourth, if the file does not list them) have no rotary embedding.
// https://huggingface.co/blog/smollm3; NoPE: Kazemnejad et al. 2023, https://arxiv.org/abs/2305.19466

import { defineArchitecture } from "../architecture.ts";
import type { Architecture } from "../architecture.ts";
import { MODEL_NAMES, parseActivation, parseCommon, parseSliding, parseWindow, perLayer } from "./common.ts";
import { llamaBlock, llamaLayer } from "./llama.ts";

export const smollm3: Architecture = defineArchitecture({
  name: "smollm3",
  names: MODEL_NAMES,
  parse: (read) => {
    const common = parseCommon(read, { architecture: "smollm3", tiedHead: true, ropeTheta: 2_000_000 });
    const { layers } = common;
    const attentionBias = read.flag("attention_bias", false);
    const listed = read.list("no_rope_layers");
    if (listed && (listed.length < layers || listed.some((flag) => flag !== 0 && flag !== 1)))
      read.invalid("no_rope_layers", JSON.stringify(listed), `a 0 or 1 for each of ${layers} layers`);
    const interval = listed ? 1 : read.int("no_rope_layer_interval", 4);
    const rotated = perLayer(layers, (i) => (listed ? listed[i] === 1 : (i + 1) % interval !== 0));
    const window =
      read.flag("use_sliding_window", false) && read.has("sliding_window") ? parseWindow(read, 0) : undefined;
    const sliding = parseSliding(read, layers) ?? rotated.map((r) => !r);
    return {
      ...common,
      activation: parseActivation(read, "hidden_act", "silu", ["silu", "gelu_tanh"]),
      qkvBias: attentionBias,
      outputBias: attentionBias,
      mlpBias: read.flag("mlp_bias", false),
      // the list's name is misleading: 1 is a layer with rotary embedding
      ropes: common.ropes.map((rope, i) => (rotated[i] ? rope : undefined)),
      windows: perLayer(layers, (i) => (sliding[i] ? window : undefined)),
    };
  },
  layer: llamaLayer,
  block: llamaBlock,
});
