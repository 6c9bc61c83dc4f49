// How the frozen base is stored on the device: as it is on disk, or in four bits.

import type { Files } from "@tunesmith/core";
import { type FourBitCodec, fourBitCodec, type FourBitOptions, matchTargets } from "@tunesmith/lora";
import { linearPaths, readModelConfig } from "@tunesmith/models";
import type { LoadedConfig, ResolvedConfig } from "./config/load.ts";
import { configError } from "./config/problem.ts";
import { trainsWeights } from "./tune-run.ts";

/** `tune.quant` as the options of the quantizer; undefined where the base stays as it is. */
export function fourBitOptions({ tune }: ResolvedConfig): FourBitOptions | undefined {
  if (tune.method !== "qlora") return undefined;
  const { type, double_quant: doubleQuant, block_size: blockSize } = tune.quant;
  return { type, doubleQuant, blockSize };
}

/**
 * The codec of a run's base model.
 * @throws LoraError `TARGET_UNMATCHED` for a module to skip that is not there
 * @throws CliError `CONFIG_CONFLICT` where `tune.quant` is written and the checkpoint is quantized already
 */
export async function baseCodec(files: Files, { config, source, written }: LoadedConfig): Promise<FourBitCodec> {
  if (trainsWeights(config.tune.method))
    return {
      ...fourBitCodec(),
      decoder: () => {
        throw configError(
          {
            code: "CONFIG_CONFLICT",
            key: ["tune", "method"],
            message: `is ${config.tune.method}, and ${config.model} is quantized: its weights cannot train`,
            received: config.tune.method,
            expected: "lora, or a base in 16 or 32 bits",
            fix: "use method: lora, or name the original 16-bit checkpoint",
          },
          source,
        );
      },
    };
  const quantize = fourBitOptions(config);
  if (!quantize) return fourBitCodec();
  const skipped = await skippedModules(files, config);
  const codec = fourBitCodec({ quantize, skip: (path) => skipped.has(path) });
  return {
    ...codec,
    decoder: (quantization, checkpoint) => {
      if (written(["tune", "quant"]))
        throw configError(
          {
            code: "CONFIG_CONFLICT",
            key: ["tune", "quant"],
            message: `says how to quantize, and ${config.model} is quantized already`,
            fix: "remove tune.quant: the checkpoint is used as it is; or name the original 16-bit checkpoint",
          },
          source,
        );
      return codec.decoder(quantization, checkpoint);
    },
  };
}

/** How each linear layer of a plain base is quantized; undefined for those that are not. */
export async function quantizedModules(
  files: Files,
  config: ResolvedConfig,
): Promise<(path: string) => FourBitOptions | undefined> {
  const options = fourBitOptions(config);
  const skipped = await skippedModules(files, config);
  return (path) => (skipped.has(path) ? undefined : options);
}

async function skippedModules(files: Files, { model, tune }: ResolvedConfig): Promise<ReadonlySet<string>> {
  const { skip_modules: skipModules } = tune.quant;
  if (skipModules.length === 0) return new Set();
  const paths = [...linearPaths(await readModelConfig(files, model)).keys()];
  return new Set(matchTargets(skipModules, paths, "tune.quant.skip_modules"));
}
