// Models and adapters from folders onto a device.

import { type Files, InputError } from "@tunesmith/core";
import { type FourBitCodec, fourBitCodec, type LoraAdapter } from "@tunesmith/lora";
import { loadModel, type Model } from "@tunesmith/models";
import { loadAdapter } from "@tunesmith/sft";
import type { Device } from "@tunesmith/tensor";

/** A model and the adapter that is used with it, nothing of which trains. */
export interface ReadyModel {
  readonly model: Model;
  readonly adapter: LoraAdapter | undefined;
}

/**
 * Loads a model folder and, where one is named, a PEFT folder on top.
 * @param options.positions - longest sequence that will be asked for
 * @param options.codec - of the base; default: as it is stored
 */
export async function loadReadyModel(
  device: Device,
  files: Files,
  options: { model: string; adapter: string | undefined; positions: number; codec?: FourBitCodec },
): Promise<ReadyModel> {
  const model = await loadModel(device, files, options.model, {
    positions: options.positions,
    codec: options.codec ?? fourBitCodec(),
  });
  const adapter = options.adapter === undefined ? undefined : await loadAdapter(model, files, options.adapter);
  return { model, adapter };
}

/** @throws InputError `FILE_MISSING` if there is no folder of that kind: said before anything slow begins */
export async function requireFolder(files: Files, path: string, mark: string, what: string): Promise<void> {
  if (await files.exists(files.join(path, mark))) return;
  throw new InputError("FILE_MISSING", `${path} is no ${what}: it has no ${mark}`, {
    path,
    expected: mark,
    fix: `check the path of the ${what}`,
  });
}
