// The decoder that Llama, Mistral, Qwen2 and Qwen3 share. They differ in biases, per-head norms and windows, which
// the config says; fields are named as in the checkpoint.

import { add, attention, embedding, linear, recompute, rmsNorm, rope, swiglu } from "@tunesmith/autograd";
import type { LowRank } from "@tunesmith/autograd";
import type { Device, Tensor, Weight } from "@tunesmith/tensor";
import type { TokenInputs } from "./batch.ts";
import type { ModelConfig } from "./config.ts";

/** A linear layer: its path in the checkpoint, weight `[out, in]` and optional bias `[out]`. */
export interface Linear {
  readonly path: string;
  readonly weight: Weight;
  readonly bias: Tensor | undefined;
}

export interface DecoderLayer {
  readonly input_layernorm: Tensor;
  readonly self_attn: {
    readonly q_proj: Linear;
    readonly k_proj: Linear;
    readonly v_proj: Linear;
    readonly o_proj: Linear;
    readonly q_norm: Tensor | undefined;
    readonly k_norm: Tensor | undefined;
  };
  readonly post_attention_layernorm: Tensor;
  readonly mlp: { readonly gate_proj: Linear; readonly up_proj: Linear; readonly down_proj: Linear };
}

/** A model on a device. Nothing in it knows about adapters: they are an argument of `forward`. */
export interface Model {
  readonly device: Device;
  readonly config: ModelConfig;
  readonly embed_tokens: Weight;
  readonly layers: readonly DecoderLayer[];
  readonly norm: Tensor;
  /** the output head `[vocab, hidden]`; the embedding itself where the two are tied */
  readonly lm_head: Weight;
  /** tables of the rotary embedding, `[positions, headDim / 2]` each */
  readonly rotary: { readonly cosines: Tensor; readonly sines: Tensor };
  /** positions that `rotary` covers */
  readonly positions: number;
  /** Gives the weights' memory back (not that of parameters placed elsewhere). */
  dispose(): void;
}

/** Whatever adds low-rank terms to linear layers, looked up by the layer's path. */
export interface Adapter {
  at(path: string): LowRank | undefined;
}

/** What is saved for backward: everything (`none`), or the input of each layer, which then runs twice. */
export type Recompute = "none" | "layer";

/** What attention sees of one layer's keys and values; a generator puts its cache here. */
export type Attend = (layer: number, q: Tensor, k: Tensor, v: Tensor) => Tensor;

/**
 * Runs the decoder and stops before logits.
 *
 * @param tokens - one flat sequence of T tokens
 * @returns hidden states after the final norm, `[T, hidden]` f32; rows of padding tokens mean nothing
 */
export function forward(
  model: Model,
  tokens: TokenInputs,
  options: { adapter?: Adapter | undefined; recompute?: Recompute | undefined } = {},
): Tensor {
  const { config } = model;
  const attend: Attend = (layer, q, k, v) =>
    attention(q, k, v, { segments: tokens.segments, ...attentionShape(config, layer) });
  return decode(model, tokens, options.adapter, attend, options.recompute);
}

/** What every attention of a layer is told about its heads. */
export function attentionShape(
  { heads, kvHeads, headDim, windows }: ModelConfig,
  layer: number,
): { heads: number; kvHeads: number; headDim: number; scale: number; window?: number } {
  const window = windows[layer];
  return { heads, kvHeads, headDim, scale: headDim ** -0.5, ...(window === undefined ? {} : { window }) };
}

/** The decoder around any way to attend. */
export function decode(
  model: Model,
  tokens: Pick<TokenInputs, "ids" | "positions">,
  adapter: Adapter | undefined,
  attend: Attend,
  mode: Recompute = "none",
): Tensor {
  const { config, device } = model;
  const eps = config.rmsNormEps;
  const project = (x: Tensor, { path, weight, bias }: Linear): Tensor =>
    linear(x, weight, { ...(bias ? { bias } : {}), lowRank: adapter?.at(path) });
  const rotate = (x: Tensor, heads: number): Tensor =>
    rope(x, { positions: tokens.positions, ...model.rotary, heads, headDim: config.headDim });
  /** RMSNorm over each head */
  const headNorm = (x: Tensor, weight: Tensor | undefined, heads: number): Tensor =>
    weight ? rmsNorm(x, weight, { eps, groups: heads }) : x;

  const through = (x: Tensor, layer: DecoderLayer, i: number): Tensor => {
    const { self_attn, mlp } = layer;
    const h = rmsNorm(x, layer.input_layernorm, { eps });
    const q = rotate(headNorm(project(h, self_attn.q_proj), self_attn.q_norm, config.heads), config.heads);
    const k = rotate(headNorm(project(h, self_attn.k_proj), self_attn.k_norm, config.kvHeads), config.kvHeads);
    const v = project(h, self_attn.v_proj);
    const y = add(x, project(attend(i, q, k, v), self_attn.o_proj));
    const m = rmsNorm(y, layer.post_attention_layernorm, { eps });
    return add(y, project(swiglu(project(m, mlp.gate_proj), project(m, mlp.up_proj)), mlp.down_proj));
  };

  let x = embedding(model.embed_tokens, tokens.ids);
  for (const [i, layer] of model.layers.entries()) {
    const input = x;
    const run = (): Tensor => through(input, layer, i);
    x = mode === "layer" ? recompute(device, run) : run();
  }
  return rmsNorm(x, model.norm, { eps });
}
