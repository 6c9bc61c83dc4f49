// Training weights of the model itself, all of them or chosen ones. They live in a store as f32 whatever the checkpoint
// holds, and the model is loaded over them; what does not train stays in its stored format and takes no gradient.

import { trainable } from "@tunesmith/autograd";
import { nearest } from "@tunesmith/core";
import { headIsTiedTo, parameterShapes } from "@tunesmith/models";
import type { LoadOptions, Model, ModelConfig } from "@tunesmith/models";
import { ParameterStore } from "@tunesmith/optim";
import type { Moment } from "@tunesmith/optim";
import type { Device } from "@tunesmith/tensor";
import { SftError } from "./errors.ts";
import type { Tuning } from "./tuning.ts";

export interface WeightOptions {
  /** modules or tensors that train, see {@link matchParameters}; default: all */
  readonly unfreeze?: readonly string[] | undefined;
  /** what the optimizer keeps; default: AdamW's */
  readonly moments?: readonly Moment[] | undefined;
}

/**
 * A store for weights of a model that train. Load or draw the model with `place` to fill it. Norms and biases are not
 * decayed.
 * @throws SftError `UNFREEZE_UNMATCHED`
 */
export function storeForModel(
  device: Device,
  config: ModelConfig,
  { unfreeze, moments }: WeightOptions = {},
): { store: ParameterStore; place: NonNullable<LoadOptions["place"]> } {
  const trains = unfreeze === undefined ? undefined : matchParameters(unfreeze, config);
  const specs = [...parameterShapes(config)]
    .filter(([name]) => trains?.has(name) ?? true)
    .map(([name, shape]) => ({ name, shape, decay: shape.length > 1 }));
  const store = new ParameterStore(device, specs, "weights", moments);
  const names = new Set(store.names);
  const place = (name: string): ReturnType<ParameterStore["slices"]> | undefined => {
    if (!names.has(name)) return undefined;
    const slices = store.slices(name);
    for (const { values, gradients } of slices) trainable(values, gradients);
    return slices;
  };
  return { store, place };
}

/**
 * A model whose own weights train.
 * @param load - loads, draws or plans it; `place` says where trained parameters live
 */
export async function tuneWeights(
  device: Device,
  config: ModelConfig,
  load: (options: Required<Pick<LoadOptions, "place">>) => Promise<Model>,
  options: WeightOptions = {},
): Promise<Tuning> {
  const { store, place } = storeForModel(device, config, options);
  try {
    return { model: await load({ place }), store, adapter: undefined };
  } catch (error) {
    store.dispose();
    throw error;
  }
}

/**
 * The parameters that a list of patterns names. A pattern is the path of a module or tensor, and stands for all below it
 * (`model.layers.3` is not `model.layers.30`), or such a path with `*` (any text, dots included) and `?` (one character).
 * Where the head is tied to the embedding the two are one tensor, which either name trains.
 * @throws SftError `UNFREEZE_UNMATCHED` for a pattern that matches nothing
 */
export function matchParameters(patterns: readonly string[], config: ModelConfig): Set<string> {
  const tied = headIsTiedTo(config);
  const names = [...parameterShapes(config).keys()];
  const found = new Set<string>();
  for (const pattern of patterns) {
    const path = expression(pattern);
    const own = names.filter((name) => path.test(name));
    if (tied && path.test(tied.head)) own.push(tied.embedding);
    if (own.length === 0) throw unmatched(pattern, names);
    for (const name of own) found.add(name);
  }
  return found;
}

/** A whole path, or its beginning up to a dot. */
function expression(pattern: string): RegExp {
  const escaped = pattern.replace(/[\\^$.|+()[\]{}]/g, String.raw`\$&`);
  return new RegExp(`^${escaped.replaceAll("*", ".*").replaceAll("?", ".")}(\\..*)?$`, "s");
}

function unmatched(pattern: string, names: readonly string[]): SftError {
  const modules = [...new Set(names.flatMap((name) => prefixesOf(name)))];
  const last = modules.find((module) => module.endsWith(`.${pattern}`));
  const near = last === undefined ? nearest(pattern, modules) : `*.${pattern}`;
  return new SftError("UNFREEZE_UNMATCHED", `tune.unfreeze: ${pattern} names no module of this model`, {
    received: pattern,
    expected: "the path of a module, or one with * in it",
    fix: near === undefined ? `its modules are ${modules.slice(0, 6).join(", ")} …` : `did you mean ${near}?`,
  });
}

function prefixesOf(name: string): string[] {
  const parts = name.split(".");
  return parts.map((_, i) => parts.slice(0, i + 1).join("."));
}
