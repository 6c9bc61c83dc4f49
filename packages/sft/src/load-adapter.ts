import type { Files } from "@tunesmith/core";
import { assembleLora, frozenTensors, type LoraAdapter, readPeft } from "@tunesmith/lora";
import { linearPaths, type Model } from "@tunesmith/models";
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
  const { config, targets, shapes, values } = await readPeft(files, folder, sizes);
  const tensors = frozenTensors(model.device, shapes, (name) => values.get(name)!);
  const adapter = assembleLora(
    config,
    targets,
    (name) => tensors.get(name)!,
    (path) => ({ weight: model.parameters.get(`${path}.weight`) as Weight, layout: sizes.get(path)!.layout }),
  );
  return {
    ...adapter,
    dispose: () => {
      adapter.dispose();
      for (const tensor of tensors.values()) tensor.dispose();
    },
  };
}
