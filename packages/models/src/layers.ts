// Parts of layers that several architectures have in common: their tensors, and what is computed with them.

import { gatedLinearUnit, recompute } from "@tunesmith/autograd";
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

/**
 * Attention over the norm of x. The norm is computed again in backward instead of saved.
 */
export function selfAttention(x: Tensor, inputNorm: Norm, p: SelfAttention<Norm, Linear>, at: LayerContext): Tensor {
  const { heads, kvHeads } = at.config;
  const project = (): Tensor => at.projectMany(at.norm(x, inputNorm), [p.q_proj, p.k_proj, p.v_proj]);
  const joined = recompute(x.device, project, { keeps: true });
  if (!p.q_norm || !p.k_norm) return at.project(attendJoined(joined, at), p.o_proj);
  const { q, k, v } = at.splitHeads(joined, { turned: false });
  const attended = at.attend(
    at.rotate(at.norm(q, p.q_norm, heads), heads),
    at.rotate(at.norm(k, p.k_norm, kvHeads), kvHeads),
    v,
  );
  return at.project(attended, p.o_proj);
}

/** Attention over `[q | k | v]`. */
export function attendJoined(joined: Tensor, at: LayerContext): Tensor {
  const { q, k, v } = at.splitHeads(joined, { turned: true });
  return at.attend(q, k, v);
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
  return gatedOutput(at.projectMany(x, [p.gate_proj, p.up_proj]), p.down_proj, at);
}

/**
 * The gated unit over `[gate | up]` and the projection that follows. Its input is computed again in backward instead of
 * saved: a sixth of what a layer keeps, for an elementwise pass. (The product itself is not run again in a recorded
 * program, where nothing needs its result.)
 */
export function gatedOutput(joined: Tensor, down: Linear, at: LayerContext): Tensor {
  const activation = at.config.activation === "silu" ? "silu" : "gelu_tanh";
  const project = (): Tensor => at.project(gatedLinearUnit(joined, { activation }), down);
  return recompute(joined.device, project, { keeps: true });
}
