// What trains: a set of named parameters in one store, and how the model sees them.

import { trainable } from "@tunesmith/autograd";
import {
  assembleLora,
  copyWeight,
  initialLora,
  initMagnitude,
  initTokenRows,
  loraShapes,
  peftNames,
  resolveSaved,
  resolveTargets,
  resolveTokenRows,
  savedName,
  tokenRowShapes,
  tokenRowsName,
  trainedBiases,
} from "@tunesmith/lora";
import type { LoraAdapter, LoraConfig, LoraStart, PeftAdapter } from "@tunesmith/lora";
import { biasSizes, linearPaths, replaceableWeights } from "@tunesmith/models";
import type { Model } from "@tunesmith/models";
import { ParameterStore } from "@tunesmith/optim";
import type { Moment } from "@tunesmith/optim";
import { asWeight } from "@tunesmith/tensor";
import type { Tensor, Weight } from "@tunesmith/tensor";

/** A model together with what is trained of it. */
export interface Tuning {
  readonly model: Model;
  readonly store: ParameterStore;
  /** absent where the model's own weights train */
  readonly adapter: LoraAdapter | undefined;
  /** of the input of each A while training; undefined: none */
  readonly dropout?: { readonly p: number; readonly seed: number } | undefined;
}

/**
 * Puts a LoRA adapter on a frozen model.
 *
 * @param options.seed - start of A (B is zero), and of dropout masks
 * @param options.start - of A, as PEFT's `init_lora_weights`; default: Kaiming
 * @param options.loraPlusRatio - the rate of B over the rate of A (LoRA+); default 1
 * @param options.moments - what the optimizer keeps; default: AdamW's
 * @param options.from - tensors that begin with these values: of an adapter to continue, whose config `config` must be, or
 *   of a start that was computed
 * @throws LoraError `TARGET_UNMATCHED`
 */
export function tuneLora(
  model: Model,
  config: LoraConfig,
  options: {
    seed: number;
    start?: LoraStart;
    from?: Pick<PeftAdapter, "values"> | undefined;
    moments?: readonly Moment[];
    loraPlusRatio?: number;
  },
): Tuning & { readonly adapter: LoraAdapter } {
  const sizes = linearPaths(model.config);
  const targets = resolveTargets(config, sizes.keys());
  const replaceable = replaceableWeights(model.config);
  const savedPaths = resolveSaved(config, replaceable);
  const tokenRows = resolveTokenRows(config, replaceable, model.config.tiedHead);
  const shapes = loraShapes(config, targets, sizes, {
    saved: new Map(savedPaths.map((path) => [path, replaceable.get(path)!])),
    tokenRows: tokenRowShapes(tokenRows, replaceable),
    biases: biasSizes(model.config),
  });
  const specs = [...shapes].map(([name, shape]) => ({
    name,
    shape,
    decay: !name.endsWith(".bias"),
    rate: name.includes(".lora_B.") ? (options.loraPlusRatio ?? 1) : 1,
  }));
  const store = new ParameterStore(model.device, specs, "adapter", options.moments);
  const fanInFanOut = targets.some((path) => sizes.get(path)!.layout === "in_out");
  const biases = trainedBiases(config, targets, sizes, biasSizes(model.config));
  const saved = new Map(
    savedPaths.map((path): [string, Weight] => {
      const shards = store.slices(savedName(path)).map(({ firstRow, values, gradients }) => {
        trainable(values, gradients);
        return { tensor: values, firstRow, rows: values.shape[0]! };
      });
      return [path, { shape: replaceable.get(path)!, format: "f32", shards }];
    }),
  );
  const adapter = assembleLora(
    { ...config, fanInFanOut },
    targets,
    (name) => {
      const { values, gradients } = store.parameter(name);
      return trainable(values, gradients);
    },
    (path) => ({ weight: model.parameters.get(`${path}.weight`) as Weight, layout: sizes.get(path)?.layout }),
    { saved, biases, tokenRows },
  );
  const dropout = config.dropout ? { p: config.dropout, seed: options.seed } : undefined;
  const tuning = { model, store, adapter, dropout };
  if (model.device.virtual) return tuning;
  const magnitudes = new Map([...adapter.modules].map(([path, at]) => [peftNames(path).magnitude, at.magnitude]));
  /** how parameters begin that stand in for one of the base's */
  const starts = new Map<string, () => void>([
    ...savedPaths.map((path) => [savedName(path), () => copyWeight(baseOf(model, path), saved.get(path)!)] as const),
    ...[...biases].map(([path, { name }]) => [name, () => copyBias(model, path, adapter.biases.get(path)!)] as const),
    ...[...adapter.tokenRows].map(([path, rows]) => [tokenRowsName(path), () => initTokenRows(rows)] as const),
  ]);
  for (const [name, shape] of shapes) {
    const start = starts.get(name);
    const magnitude = magnitudes.get(name);
    const given = options.from?.values.get(name);
    if (given === undefined && start) start();
    else if (given === undefined && magnitude) initMagnitude(magnitude);
    else store.write(name, "values", given ?? initialLora(name, shape, options));
  }
  return tuning;
}

function copyBias({ parameters }: Model, path: string, into: Tensor): void {
  const column = (vector: Tensor): Weight => asWeight(vector.reshape([vector.size, 1]) as Tensor<"f32">);
  copyWeight(column(parameters.get(`${path}.bias`) as Tensor), column(into));
}

/** The base's weight of a path; a tied head is the embedding. */
function baseOf({ parameters, lm_head }: Model, path: string): Weight {
  return (parameters.get(`${path}.weight`) as Weight | undefined) ?? lm_head;
}
