// The tensors of an architecture: names as in the checkpoint, shapes from the config. Loading, drawing and planning
// all start from this one list.

import type { ModelConfig } from "./config.ts";

/** Every parameter in checkpoint order: name → shape (torch layout, `[out, in]` for matrices). */
export function parameterShapes(config: ModelConfig): Map<string, readonly number[]> {
  const { hiddenSize: h, intermediateSize: f, headDim: d, heads, kvHeads } = config;
  const shapes = new Map<string, readonly number[]>([["model.embed_tokens.weight", [config.vocabSize, h]]]);
  const linear = (path: string, out: number, input: number, bias: boolean): void => {
    shapes.set(`${path}.weight`, [out, input]);
    if (bias) shapes.set(`${path}.bias`, [out]);
  };
  for (let i = 0; i < config.layers; i++) {
    const layer = `model.layers.${i}`;
    shapes.set(`${layer}.input_layernorm.weight`, [h]);
    linear(`${layer}.self_attn.q_proj`, heads * d, h, config.qkvBias);
    linear(`${layer}.self_attn.k_proj`, kvHeads * d, h, config.qkvBias);
    linear(`${layer}.self_attn.v_proj`, kvHeads * d, h, config.qkvBias);
    linear(`${layer}.self_attn.o_proj`, h, heads * d, config.outputBias);
    if (config.qkNorm) {
      shapes.set(`${layer}.self_attn.q_norm.weight`, [d]);
      shapes.set(`${layer}.self_attn.k_norm.weight`, [d]);
    }
    shapes.set(`${layer}.post_attention_layernorm.weight`, [h]);
    linear(`${layer}.mlp.gate_proj`, f, h, config.mlpBias);
    linear(`${layer}.mlp.up_proj`, f, h, config.mlpBias);
    linear(`${layer}.mlp.down_proj`, h, f, config.mlpBias);
  }
  shapes.set("model.norm.weight", [h]);
  if (!config.tiedHead) shapes.set("lm_head.weight", [config.vocabSize, h]);
  return shapes;
}

/** Module paths of the linear layers that an adapter may sit on, in checkpoint order; the output head is not among them. */
export function linearPaths(config: ModelConfig): Map<string, { readonly in: number; readonly out: number }> {
  const paths = new Map<string, { in: number; out: number }>();
  for (const [name, shape] of parameterShapes(config)) {
    const match = /^(model\.layers\..*_proj)\.weight$/.exec(name);
    if (match) paths.set(match[1]!, { out: shape[0]!, in: shape[1]! });
  }
  return paths;
}
