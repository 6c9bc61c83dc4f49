import type { Files } from "@tunesmith/core";
import {
  assembleLora,
  frozenTensors,
  type LoraAdapter,
  readPeft,
  resolveSaved,
  savedName,
  trainedBiases,
  wholeWeight,
} from "@tunesmith/lora";
import { biasSizes, linearPaths, type Model, replaceableWeights } from "@tunesmith/models";
import type { Weight } from "@tunesmith/tensor";

/**
 * Loads a PEFT folder onto the device of its base, to be used and not trained. Any number of adapters can be loaded on one
 * base: each call of `forward`, each `Generator` and each `ScorePrograms` takes the one it is to use, or none.
 *
 * @returns the adapter; its `dispose` gives its memory back
 * @throws LoraError as `readPeft` does
 */
export async function loadAdapter(model: Model, files: Files, folder: string): Promise<LoraAdapter> {
  const sizes = linearPaths(model.config);
  const replaceable = replaceableWeights(model.config);
  const biases = biasSizes(model.config);
  const read = await readPeft(files, folder, sizes, replaceable, { tied: model.config.tiedHead, biases });
  const { config, targets, shapes, values, tokenRows = new Map() } = read;
  const saved = new Map(
    resolveSaved(config, replaceable).map((path) => {
      const label = savedName(path);
      return [path, wholeWeight(model.device, { shape: replaceable.get(path)!, values: values.get(label)!, label })];
    }),
  );
  const lowRank = new Map([...shapes].filter(([name]) => ![...saved.keys()].map(savedName).includes(name)));
  const tensors = frozenTensors(model.device, lowRank, (name) => values.get(name)!);
  const adapter = assembleLora(
    config,
    targets,
    (name) => tensors.get(name)!,
    (path) => ({ weight: model.parameters.get(`${path}.weight`) as Weight, layout: sizes.get(path)?.layout }),
    { saved, biases: trainedBiases(config, targets, sizes, biases), tokenRows },
  );
  return {
    ...adapter,
    dispose: () => {
      adapter.dispose();
      for (const tensor of tensors.values()) tensor.dispose();
      for (const { shards } of saved.values()) for (const { tensor } of shards) tensor.dispose();
    },
  };
}
