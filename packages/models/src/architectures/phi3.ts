// Phi-3 and Phi-4: Llama with q, k and v in one projection, gate and up in another. https://arxiv.org/abs/2404.14219

import { add } from "@tunesmith/autograd";
import { defineArchitecture } from "../architecture.ts";
import type { Architecture } from "../architecture.ts";
import { attendJoined, gatedOutput } from "../layers.ts";
import { linear, norm } from "../tree.ts";
import { MODEL_NAMES, parseActivation, parseCommon, parseSliding, parseWindow, perLayer } from "./common.ts";

export const phi3: Architecture = defineArchitecture({
  name: "phi3",
  names: MODEL_NAMES,
  parse: (read) => {
    const common = parseCommon(read, {
      architecture: "phi3",
      kvHeads: (heads) => heads,
      rotaryPart: 1,
      // names that longrope had in early files
      ropeAlias: { su: "longrope", yarn: "longrope" },
    });
    const sliding = parseSliding(read, common.layers);
    const window = read.has("sliding_window") ? parseWindow(read, 0) : undefined;
    if (window !== undefined && sliding?.includes(false))
      read.unsupported("layer_types", "full_attention", "a window in every layer");
    return {
      ...common,
      normEps: read.number("rms_norm_eps", 1e-5),
      activation: parseActivation(read, "hidden_act", "silu", ["silu"]),
      windows: perLayer(common.layers, () => window),
    };
  },
  layer: (c) => ({
    input_layernorm: norm(c.hiddenSize),
    self_attn: {
      o_proj: linear(c.hiddenSize, c.heads * c.headDim, false),
      qkv_proj: linear((c.heads + 2 * c.kvHeads) * c.headDim, c.hiddenSize, false),
    },
    post_attention_layernorm: norm(c.hiddenSize),
    mlp: {
      gate_up_proj: linear(2 * c.intermediateSize, c.hiddenSize, false),
      down_proj: linear(c.hiddenSize, c.intermediateSize, false),
    },
  }),
  block: (x, { input_layernorm, self_attn, post_attention_layernorm, mlp }, at) => {
    const attended = attendJoined(at.project(at.norm(x, input_layernorm), self_attn.qkv_proj), at);
    const { sum, normed } = at.addNorm(x, at.project(attended, self_attn.o_proj), post_attention_layernorm);
    return add(sum, gatedOutput(at.project(normed, mlp.gate_up_proj), mlp.down_proj, at));
  },
});
