// A LoRA adapter: for each chosen linear layer two small matrices A [r, in] and B [out, r], and y += s·(x·Aᵀ)·Bᵀ.
// It wraps nothing: a forward pass takes it as an argument, so several can live on one base.
// Hu et al. 2021, "LoRA", https://arxiv.org/abs/2106.09685; rsLoRA: Kalajdzievski 2023, https://arxiv.org/abs/2312.03732

import { hash32, uniform } from "@tunesmith/core";
import type { LowRank } from "@tunesmith/autograd";
import { state } from "@tunesmith/tensor";
import type { Device, Tensor } from "@tunesmith/tensor";
import type { TargetModules } from "./targets.ts";

export interface LoraConfig {
  readonly r: number;
  readonly alpha: number;
  readonly useRslora: boolean;
  /** as the user wrote it; saved to adapter_config.json */
  readonly targetModules: TargetModules;
  /** the layers' weights are stored `[in, out]`; A and B have the same shapes all the same. Saved to adapter_config.json */
  readonly fanInFanOut?: boolean;
}

/** A linear layer an adapter may sit on. */
export interface LinearSize {
  readonly in: number;
  readonly out: number;
  /** how its weight is stored; `in_out` is the Conv1D of GPT-2. Default `out_in` */
  readonly layout?: "out_in" | "in_out";
}

/** The linear layers an adapter may sit on, by module path. */
export type LinearSizes = ReadonlyMap<string, LinearSize>;

export interface LoraAdapter {
  readonly config: LoraConfig;
  /** A, B and scale by module path */
  readonly modules: ReadonlyMap<string, LowRank>;
  at(path: string): LowRank | undefined;
}

/** s = alpha / r, or alpha / √r for rank-stabilised LoRA. */
export function loraScale(config: Pick<LoraConfig, "r" | "alpha" | "useRslora">): number {
  return config.alpha / (config.useRslora ? Math.sqrt(config.r) : config.r);
}

/** Names in a PEFT file of the two matrices of a module. */
export function peftNames(path: string): { readonly a: string; readonly b: string } {
  return { a: `base_model.model.${path}.lora_A.weight`, b: `base_model.model.${path}.lora_B.weight` };
}

/**
 * Every tensor of an adapter on `targets`: PEFT name → shape. All A come first, then all B: those of projections of one
 * input adjoin in a parameter store, and share their products.
 */
export function loraShapes(
  config: LoraConfig,
  targets: readonly string[],
  sizes: LinearSizes,
): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  for (const path of targets) shapes.set(peftNames(path).a, [config.r, sizes.get(path)!.in]);
  for (const path of targets) shapes.set(peftNames(path).b, [sizes.get(path)!.out, config.r]);
  return shapes;
}

/**
 * An adapter over tensors that already exist.
 * @param tensor - the tensor of a PEFT name
 */
export function assembleLora(
  config: LoraConfig,
  targets: readonly string[],
  tensor: (name: string) => Tensor,
): LoraAdapter {
  const scale = loraScale(config);
  const modules = new Map<string, LowRank>();
  for (const path of targets) {
    const { a, b } = peftNames(path);
    modules.set(path, { a: tensor(a), b: tensor(b), scale });
  }
  return { config, modules, at: (path) => modules.get(path) };
}

/**
 * PEFT's default start: A uniform in ±1/√in (Kaiming with a = √5), B zero, so that the adapted model begins as the base.
 * Each value is a pure function of (seed, name, index).
 */
export function initialLora(name: string, shape: readonly number[], seed: number): Float32Array {
  const values = new Float32Array(shape[0]! * shape[1]!);
  if (name.endsWith(".lora_B.weight")) return values;
  const bound = 1 / Math.sqrt(shape[1]!);
  const site = hash32(name);
  for (let i = 0; i < values.length; i++) values[i] = bound * (2 * uniform(seed, site, 0, i) - 1);
  return values;
}

/** Tensors of its own for an adapter that is used but not trained. */
export function frozenTensors(
  device: Device,
  shapes: ReadonlyMap<string, readonly number[]>,
  values: (name: string) => Float32Array,
): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const [name, shape] of shapes)
    tensors.set(name, state(device, { shape, dtype: "f32", category: "adapter", label: name, data: values(name) }));
  return tensors;
}
