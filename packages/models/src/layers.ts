// Parts of layers that several architectures have in common: their tensors, and what is computed with them.

import { geglu, swiglu } from "@tunesmith/autograd";
import type { Tensor } from "@tunesmith/tensor";
import type { LayerContext } from "./architecture.ts";
import type { ModelConfig } from "./config.ts";
import { linear, norm } from "./tree.ts";
import type { Linear, LinearSpec, Norm, NormSpec } from "./tree.ts";

/** Attention with a projection for each of q, k and v; with norms over heads where the config says. */
export type SelfAttention<N, L> = {
  readonly q_proj: L;
  readonly k_proj: L;
  readonly v_proj: L;
  readonly o_proj: L;
  readonly q_norm: N | undefined;
  readonly k_norm: N | undefined;
};

export function selfAttentionTree(c: ModelConfig): SelfAttention<NormSpec, LinearSpec> {
  const [q, kv] = [c.heads * c.headDim, c.kvHeads * c.headDim];
  return {
    q_proj: linear(q, c.hiddenSize, c.qkvBias),
    k_proj: linear(kv, c.hiddenSize, c.qkvBias),
    v_proj: linear(kv, c.hiddenSize, c.qkvBias),
    o_proj: linear(c.hiddenSize, q, c.outputBias),
    q_norm: c.qkNorm ? norm(c.headDim) : undefined,
    k_norm: c.qkNorm ? norm(c.headDim) : undefined,
  };
}

export function selfAttention(x: Tensor, p: SelfAttention<Norm, Linear>, at: LayerContext): Tensor {
  const { heads, kvHeads } = at.config;
  const position = (y: Tensor, weight: Norm | undefined, n: number): Tensor =>
    at.rotate(weight ? at.norm(y, weight, n) : y, n);
  const q = position(at.project(x, p.q_proj), p.q_norm, heads);
  const k = position(at.project(x, p.k_proj), p.k_norm, kvHeads);
  return at.project(at.attend(q, k, at.project(x, p.v_proj)), p.o_proj);
}

/** Gated feed-forward part. */
export type GatedMlp<L> = { readonly gate_proj: L; readonly up_proj: L; readonly down_proj: L };

export function gatedMlpTree(c: ModelConfig): GatedMlp<LinearSpec> {
  return {
    gate_proj: linear(c.intermediateSize, c.hiddenSize, c.mlpBias),
    up_proj: linear(c.intermediateSize, c.hiddenSize, c.mlpBias),
    down_proj: linear(c.hiddenSize, c.intermediateSize, c.mlpBias),
  };
}

export function gatedMlp(x: Tensor, p: GatedMlp<Linear>, at: LayerContext): Tensor {
  const gate = at.config.activation === "silu" ? swiglu : geglu;
  return at.project(gate(at.project(x, p.gate_proj), at.project(x, p.up_proj)), p.down_proj);
}
