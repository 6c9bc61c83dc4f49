// A LoRA adapter: for each chosen linear layer two small matrices A [r, in] and B [out, r], and y += s·(x·Aᵀ)·Bᵀ.
// It wraps nothing: a forward pass takes it as an argument, so several can live on one base.
// Hu et al. 2021, "LoRA", https://arxiv.org/abs/2106.09685; rsLoRA: Kalajdzievski 2023, https://arxiv.org/abs/2312.03732

import { hash32, normal, uniform } from "@tunesmith/core";
import { add } from "@tunesmith/autograd";
import type { ChangedRows, LowRank } from "@tunesmith/autograd";
import { state } from "@tunesmith/tensor";
import type { Device, Tensor, Weight } from "@tunesmith/tensor";
import { type BaseWeight, squaredNorms } from "./base-norms.ts";
import { type LoraConfig, moduleRank } from "./config.ts";
import { type ReplaceableWeights, savedName } from "./saved.ts";
import { type TokenRows, type TrainedRows, trainedRows, tokenRowsName } from "./token-rows.ts";

/** A linear layer an adapter may sit on. */
export interface LinearSize {
  readonly in: number;
  readonly out: number;
  /** how its weight is stored; `in_out` is the Conv1D of GPT-2. Default `out_in` */
  readonly layout?: "out_in" | "in_out";
  /** it has one; default false */
  readonly bias?: boolean;
}

/** The linear layers an adapter may sit on, by module path. */
export type LinearSizes = ReadonlyMap<string, LinearSize>;

export interface LoraAdapter {
  readonly config: LoraConfig;
  /** A, B, scale and magnitude by module path */
  readonly modules: ReadonlyMap<string, LowRank>;
  at(path: string): LowRank | undefined;
  /** weights that stand in for the base's, f32, by module path: `modules_to_save` */
  readonly saved: ReadonlyMap<string, Weight>;
  weight(path: string): Weight | undefined;
  /** biases `[out]` that stand in for the base's, by module path: `bias: lora_only` */
  readonly biases: ReadonlyMap<string, Tensor>;
  bias(path: string): Tensor | undefined;
  /** rows of embedding and output head that stand in for the base's, by module path: `trainable_token_indices` */
  readonly tokenRows: ReadonlyMap<string, TrainedRows>;
  /** what they change, computed by each call */
  changedRows(path: string): ChangedRows | undefined;
  /** Gives back what was computed from the base's weights; tensors of the adapter belong to whoever made them. */
  dispose(): void;
}

/** Names in a PEFT file of the tensors of a module. */
export function peftNames(path: string): Readonly<Record<"a" | "b" | "magnitude" | "bias", string>> {
  const at = `base_model.model.${path}`;
  return {
    a: `${at}.lora_A.weight`,
    b: `${at}.lora_B.weight`,
    magnitude: `${at}.lora_magnitude_vector`,
    bias: `${at}.base_layer.bias`,
  };
}

/**
 * The biases that train: module path → PEFT name and size.
 * @param all - sizes of all biases of the model, by module path
 */
export function trainedBiases(
  config: LoraConfig,
  targets: readonly string[],
  sizes: LinearSizes,
  all: ReadonlyMap<string, number> = new Map(),
): Map<string, { readonly name: string; readonly size: number }> {
  const biases = new Map<string, { name: string; size: number }>();
  if (config.bias !== undefined)
    for (const path of targets)
      if (sizes.get(path)!.bias) biases.set(path, { name: peftNames(path).bias, size: sizes.get(path)!.out });
  if (config.bias === "all")
    for (const [path, size] of all) if (!biases.has(path)) biases.set(path, { name: plainBiasName(path), size });
  return biases;
}

/** Name in a PEFT file of a bias that belongs to no target. */
export function plainBiasName(path: string): string {
  return `base_model.model.${path}.bias`;
}

/**
 * Every tensor of an adapter on `targets`: PEFT name → shape. All A come first, then all B: those of projections of one
 * input adjoin in a parameter store, and share their products. DoRA's magnitudes come next, modules that are saved whole last.
 * @param others.saved - the latter, see `resolveSaved`
 * @param others.biases - sizes of all biases of the model, for `bias: all`
 * @param others.tokenRows - rows of embedding and head, `[n, dim]` each; behind all else
 */
export function loraShapes(
  config: LoraConfig,
  targets: readonly string[],
  sizes: LinearSizes,
  {
    saved = new Map(),
    tokenRows = new Map(),
    biases,
  }: {
    readonly saved?: ReplaceableWeights;
    readonly tokenRows?: ReplaceableWeights;
    readonly biases?: ReadonlyMap<string, number> | undefined;
  } = {},
): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  for (const path of targets) shapes.set(peftNames(path).a, [moduleRank(config, path).r, sizes.get(path)!.in]);
  for (const path of targets) shapes.set(peftNames(path).b, [sizes.get(path)!.out, moduleRank(config, path).r]);
  if (config.useDora) for (const path of targets) shapes.set(peftNames(path).magnitude, [sizes.get(path)!.out]);
  for (const { name, size } of trainedBiases(config, targets, sizes, biases).values()) shapes.set(name, [size]);
  for (const [path, shape] of saved) shapes.set(savedName(path), shape);
  for (const [path, shape] of tokenRows) shapes.set(tokenRowsName(path), shape);
  return shapes;
}

/**
 * An adapter over tensors that already exist.
 * @param tensor - the tensor of a PEFT name
 * @param base - the weight of a module of the base; DoRA's magnitudes are relative to its norms
 * @param own.saved - weights that stand in for the base's, by module path
 * @param own.biases - those of the adapter's own, see `trainedBiases`
 * @param own.tokenRows - ids of rows of the adapter's own, by module path
 */
export function assembleLora(
  config: LoraConfig,
  targets: readonly string[],
  tensor: (name: string) => Tensor,
  base: (path: string) => BaseWeight,
  own: {
    readonly saved: ReadonlyMap<string, Weight>;
    readonly biases: ReturnType<typeof trainedBiases>;
    readonly tokenRows: TokenRows;
  },
): LoraAdapter {
  const modules = new Map<string, LowRank>();
  const computed: Tensor[] = [];
  for (const path of targets) {
    const { a, b, magnitude } = peftNames(path);
    const lowRank = { a: tensor(a), b: tensor(b), scale: moduleRank(config, path).scale };
    if (!config.useDora) modules.set(path, lowRank);
    else {
      const squares = squaredNorms(base(path), path);
      computed.push(squares);
      modules.set(path, { ...lowRank, magnitude: { values: tensor(magnitude), squaredNorms: squares } });
    }
  }
  const { saved } = own;
  const biases = new Map([...own.biases].map(([path, { name }]) => [path, tensor(name)]));
  const tokenRows = new Map(
    [...own.tokenRows].map(([path, ids]) => [
      path,
      trainedRows(ids, tensor(tokenRowsName(path)), base(path).weight, path),
    ]),
  );
  for (const { ids, minusBase } of tokenRows.values()) computed.push(ids, minusBase);
  return {
    config,
    modules,
    at: (path) => modules.get(path),
    saved,
    weight: (path) => saved.get(path),
    biases,
    bias: (path) => biases.get(path),
    tokenRows,
    changedRows: changesOf(tokenRows),
    dispose: () => computed.forEach((one) => one.dispose()),
  };
}

export function changesOf(tokenRows: ReadonlyMap<string, TrainedRows>): LoraAdapter["changedRows"] {
  return (path) => {
    const rows = tokenRows.get(path);
    return rows && { ids: rows.ids, changes: add(rows.values, rows.minusBase) };
  };
}

/** How A begins: uniform in ±1/√in (Kaiming with a = √5), or normal with deviation 1/r. PEFT's `init_lora_weights`. */
export type LoraStart = "default" | "gaussian";

/**
 * PEFT's starts: A random, B zero, so that the adapted model begins as the base (DoRA's magnitudes then are the base's norms:
 * see `initMagnitude`). Each value is a pure function of (seed, name, index).
 */
export function initialLora(
  name: string,
  shape: readonly number[],
  { seed, start = "default" }: { readonly seed: number; readonly start?: LoraStart },
): Float32Array {
  const [r, inputs] = shape as readonly [number, number];
  const values = new Float32Array(r * inputs);
  if (name.endsWith(".lora_B.weight")) return values;
  const site = hash32(name);
  const bound = 1 / Math.sqrt(inputs);
  const draw =
    start === "gaussian"
      ? (i: number): number => normal(seed, site, 0, i) / r
      : (i: number): number => bound * (2 * uniform(seed, site, 0, i) - 1);
  for (let i = 0; i < values.length; i++) values[i] = draw(i);
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
