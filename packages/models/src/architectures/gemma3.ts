// Gemma 3, text: Gemma 2 with norms over heads instead of caps; five layers with a window and their own rotary
// frequencies, then one that sees everything. https://arxiv.org/abs/2503.19786

import { defineArchitecture } from "../architecture.ts";
import type { Architecture } from "../architecture.ts";
import { parseRopeParameters } from "../rope.ts";
import type { RopeConfig } from "../rope.ts";
import { MODEL_NAMES, parseSliding, parseWindow, perLayer } from "./common.ts";
import { gemma2Block, gemma2Layer, parseSoftCap } from "./gemma2.ts";
import { parseGemma } from "./gemma.ts";

const THETA = 1_000_000;
const LOCAL_THETA = 10_000;

export const gemma3: Architecture = defineArchitecture({
  name: "gemma3_text",
  names: MODEL_NAMES,
  parse: (read) => {
    const common = parseGemma(read, "gemma3_text", THETA);
    const { layers, maxPositions, rotaryDim } = common;
    const window = parseWindow(read, 4096);
    const every = ["sliding_window_pattern", "_sliding_window_pattern"].find((key) => read.has(key));
    const pattern = every === undefined ? 6 : read.int(every);
    const sliding = parseSliding(read, layers) ?? perLayer(layers, (i) => (i + 1) % pattern !== 0);

    // since transformers 5 one set of parameters per kind of layer; before, the scaling is that of the full layers
    const nested = read.within("rope_parameters");
    const local = nested?.within("sliding_attention");
    const theta = local ? LOCAL_THETA : read.number("rope_local_base_freq", LOCAL_THETA);
    const options = { theta: LOCAL_THETA, maxPositions, rotaryDim };
    const near: RopeConfig = local ? parseRopeParameters(local, read, options) : { type: "default", theta };
    const full = nested?.within("full_attention");
    const far = full ? parseRopeParameters(full, read, { ...options, theta: THETA }) : common.ropes[0];
    return {
      ...common,
      attentionScale: read.positive("query_pre_attn_scalar", 256) ** -0.5,
      logitSoftCap: parseSoftCap(read, "final_logit_softcapping", undefined),
      qkNorm: true,
      windows: sliding.map((s) => (s ? window : undefined)),
      ropes: sliding.map((s) => (s ? near : far)),
    };
  },
  layer: gemma2Layer,
  block: gemma2Block,
});
