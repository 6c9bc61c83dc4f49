// What a file under architectures/ says: how to read its config.json, which tensors a layer has, and what it computes.

import type { Tensor } from "@tunesmith/tensor";
import type { ArchitectureName } from "./architectures/registry.ts";
import type { ModelConfig } from "./config.ts";
import type { ConfigReader } from "./config-reader.ts";
import type { Linear, Loaded, Norm, ParameterTree } from "./tree.ts";

/** Paths in the checkpoint of what surrounds the layers. */
export interface OuterNames {
  /** what all names but the head's begin with; checkpoints of the bare decoder leave it out */
  readonly prefix: string;
  readonly embedding: string;
  /** learned positions, where an architecture has them */
  readonly positions?: string;
  readonly layers: string;
  readonly norm: string;
  readonly head: string;
  /** buffers that old checkpoints carry and that hold nothing the config does not say */
  readonly ignored?: RegExp;
}

/** What a layer is computed with: the model's own norm, positions and way to attend, and the adapter of this call. */
export interface LayerContext {
  readonly config: ModelConfig;
  /** a linear layer with what the adapter adds to it */
  project(x: Tensor, linear: Linear): Tensor;
  /** several linear layers of one input, their outputs side by side */
  projectMany(x: Tensor, linears: readonly Linear[]): Tensor;
  /** @param groups - equal parts of the last dimension, each normalized on its own */
  norm(x: Tensor, norm: Norm, groups?: number): Tensor;
  /** the residual sum x + y, and its norm */
  addNorm(x: Tensor, y: Tensor, norm: Norm): { sum: Tensor; normed: Tensor };
  /** takes `[q | k | v]` apart; q and k with the layer's rotary embedding where `turned` */
  splitHeads(joined: Tensor, options: { turned: boolean }): { q: Tensor; k: Tensor; v: Tensor };
  /** the layer's rotary embedding of `heads` heads; x itself where it has none */
  rotate(x: Tensor, heads: number): Tensor;
  /** @param q - `[T, heads · headDim]`; k and v `[T, kvHeads · headDim]` */
  attend(q: Tensor, k: Tensor, v: Tensor): Tensor;
}

export interface Architecture {
  /** `model_type` in config.json */
  readonly name: ArchitectureName;
  readonly names: OuterNames;
  parse(read: ConfigReader): ModelConfig;
  /** tensors of one layer, under the checkpoint's keys */
  layer(config: ModelConfig): ParameterTree;
  /** one layer: hidden states `[T, hidden]` to hidden states; `parameters` is the loaded tree of {@link layer} */
  block(x: Tensor, parameters: never, context: LayerContext): Tensor;
}

/** Ties the tree of a layer to the function that computes with it. */
export function defineArchitecture<T extends { readonly [K in keyof T]: ParameterTree[string] }>(
  architecture: Omit<Architecture, "layer" | "block"> & {
    layer(config: ModelConfig): T;
    block(x: Tensor, parameters: Loaded<T>, context: LayerContext): Tensor;
  },
): Architecture {
  return architecture as unknown as Architecture;
}
