// The PEFT folder: adapter_config.json and adapter_model.safetensors. PEFT only warns about a misspelt tensor and then
// runs the base model; here a missing, extra or mis-shaped tensor is an error.

import type { Files } from "@tunesmith/core";
import { nearest } from "@tunesmith/core";
import { openSafetensors, toF32, writeSafetensors } from "@tunesmith/safetensors";
import { loraShapes, peftNames, plainBiasName } from "./adapter.ts";
import type { LoraConfig } from "./config.ts";
import type { LinearSize, LinearSizes, LoraAdapter } from "./adapter.ts";
import { LoraError } from "./errors.ts";
import { readPeftConfig, writePeftConfig } from "./peft-config.ts";
import { type ReplaceableWeights, readWhole, resolveSaved, savedName } from "./saved.ts";
import { resolveTokenRows, type TokenRows, tokenRowShapes, tokenRowsName } from "./token-rows.ts";
import { resolveTargets } from "./targets.ts";

/** An adapter read from a folder, its tensors still on the host. */
export interface PeftAdapter {
  readonly config: LoraConfig;
  readonly baseModel: string | undefined;
  readonly targets: readonly string[];
  /** PEFT name → shape, in the model's order */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** PEFT name → f32 values */
  readonly values: ReadonlyMap<string, Float32Array>;
  /** ids of single rows of embedding and head that it brings; default none */
  readonly tokenRows?: TokenRows;
}

/**
 * Reads a PEFT folder against the linear layers of a model.
 * @param replaceable - weights that an adapter may bring, whole or rows of them: the model's embedding and output head
 * @param options.tied - those are one weight; default false
 * @param options.biases - sizes of all biases of the model, by module path, for adapters with `bias: all`
 * @throws LoraError for an unsupported config or any tensor that is missing, unexpected or of another shape
 */
export async function readPeft(
  files: Files,
  folder: string,
  sizes: LinearSizes,
  replaceable: ReplaceableWeights = new Map(),
  { tied = false, biases }: { readonly tied?: boolean; readonly biases?: ReadonlyMap<string, number> } = {},
): Promise<PeftAdapter> {
  const configPath = files.join(folder, "adapter_config.json");
  const file = await files.open(configPath);
  const text = await file.read(0, file.size).finally(() => file.close());
  const { config, baseModel } = readPeftConfig(new TextDecoder("utf-8", { fatal: true }).decode(text), configPath);
  const targets = resolveTargets(config, sizes.keys(), { idleExclusions: true });
  const saved = new Map(resolveSaved(config, replaceable).map((name) => [name, replaceable.get(name)!]));
  const tokenRows = resolveTokenRows(config, replaceable, tied);
  const rows = tokenRowShapes(tokenRows, replaceable);
  const shapes = loraShapes(config, targets, sizes, { saved, tokenRows: rows, biases });

  const path = files.join(folder, "adapter_model.safetensors");
  const tensors = await openSafetensors(files, path);
  try {
    for (const name of tensors.tensors.keys()) {
      if (shapes.has(name)) continue;
      const near = nearest(name, shapes.keys());
      throw new LoraError(
        "ADAPTER_TENSOR_UNEXPECTED",
        `${path}: tensor ${name} belongs to no target module of this model`,
        {
          path,
          received: name,
          fix: near ? `did you mean ${near}?` : "check that the adapter was trained on this model",
        },
      );
    }
    const values = new Map<string, Float32Array>();
    for (const [name, shape] of shapes) {
      const found = tensors.tensors.get(name);
      if (!found)
        throw new LoraError("ADAPTER_TENSOR_MISSING", `${path}: tensor ${name} is missing`, {
          path,
          expected: `${name} [${shape.join(", ")}]`,
          fix: "check that the adapter was trained on this model",
        });
      const floating = ["F32", "F16", "BF16"].includes(found.dtype);
      if (found.shape.join() !== shape.join() || !floating)
        throw new LoraError(
          "ADAPTER_TENSOR_MISMATCH",
          `${path}: tensor ${name} is ${found.dtype} [${found.shape.join(", ")}], expected [${shape.join(", ")}] in F32, F16 or BF16`,
          {
            path,
            received: `${found.dtype} [${found.shape.join(", ")}]`,
            expected: `[${shape.join(", ")}]`,
            fix: "check that the adapter was trained on this model, with the r of its config",
          },
        );
      values.set(name, toF32(await tensors.read(name), found.dtype));
    }
    return { config, baseModel, targets, shapes, values, tokenRows };
  } finally {
    await tensors.close();
  }
}

/**
 * Reads a PEFT folder by itself, taking the layers from its tensors: for what needs no model.
 * @throws as {@link readPeft}
 */
export async function readPeftAlone(files: Files, folder: string): Promise<PeftAdapter> {
  const tensors = await openSafetensors(files, files.join(folder, "adapter_model.safetensors"));
  const sizes = new Map<string, LinearSize>();
  const whole = new Map<string, readonly [number, number]>();
  const biases = new Map<string, number>();
  try {
    for (const [name, { shape }] of tensors.tensors) {
      const [, path, side] = /^base_model\.model\.(.+?)(?:\.lora_([AB]))?\.weight$/.exec(name) ?? [];
      const biased = /^base_model\.model\.(.+)\.base_layer\.bias$/.exec(name)?.[1];
      const rowsOf = /^base_model\.model\.(.+)\.token_adapter\.trainable_tokens_delta$/.exec(name)?.[1];
      if (rowsOf !== undefined) whole.set(rowsOf, [Number.MAX_SAFE_INTEGER, shape[1] ?? 0]);
      const plain = /^base_model\.model\.(.+)(?<!\.base_layer)\.bias$/.exec(name)?.[1];
      if (plain !== undefined) biases.set(plain, shape[0] ?? 0);
      if (biased !== undefined) sizes.set(biased, { ...(sizes.get(biased) ?? { in: 0, out: 0 }), bias: true });
      if (path === undefined) continue; // readPeft names it
      if (side === undefined) whole.set(path, [shape[0] ?? 0, shape[1] ?? 0]);
      else
        sizes.set(path, {
          ...(sizes.get(path) ?? { in: 0, out: 0 }),
          ...(side === "A" ? { in: shape[1] ?? 0 } : { out: shape[0] ?? 0 }),
        });
    }
  } finally {
    await tensors.close();
  }
  return readPeft(files, folder, sizes, whole, { biases });
}

/** Writes an adapter as PEFT does: f32 tensors under PEFT's names, the tensors first, the config last. */
export async function writePeft(files: Files, folder: string, adapter: LoraAdapter, baseModel: string): Promise<void> {
  const shapes = new Map<string, readonly number[]>();
  const values = new Map<string, Float32Array>();
  for (const [path, { a, b, magnitude }] of adapter.modules) {
    const names = peftNames(path);
    for (const [name, tensor] of [
      [names.a, a],
      [names.b, b],
      [names.magnitude, magnitude?.values],
    ] as const) {
      if (!tensor) continue;
      shapes.set(name, tensor.shape);
      values.set(name, (await tensor.read()) as Float32Array);
    }
  }
  for (const [path, bias] of adapter.biases) {
    const name = adapter.modules.has(path) ? peftNames(path).bias : plainBiasName(path);
    shapes.set(name, bias.shape);
    values.set(name, (await bias.read()) as Float32Array);
  }
  for (const [path, weight] of adapter.saved) {
    shapes.set(savedName(path), weight.shape);
    values.set(savedName(path), await readWhole(weight));
  }
  for (const [path, rows] of adapter.tokenRows) {
    shapes.set(tokenRowsName(path), rows.values.shape);
    values.set(tokenRowsName(path), (await rows.values.read()) as Float32Array);
  }
  const { config } = adapter;
  await writePeftFolder(files, folder, { config, baseModel, targets: [...adapter.modules.keys()], shapes, values });
}

/** {@link writePeft} for an adapter on the host. */
export async function writePeftFolder(files: Files, folder: string, adapter: PeftAdapter): Promise<void> {
  const { config, targets, baseModel, shapes, values } = adapter;
  const tensors = new Map<string, { dtype: "F32"; shape: readonly number[]; data: Uint8Array }>();
  for (const [name, { buffer, byteOffset, byteLength }] of values)
    tensors.set(name, { dtype: "F32", shape: shapes.get(name)!, data: new Uint8Array(buffer, byteOffset, byteLength) });
  await writeSafetensors(files, files.join(folder, "adapter_model.safetensors"), tensors, new Map([["format", "pt"]]));
  const text = writePeftConfig(config, targets, baseModel ?? null);
  await files.writeAtomic(files.join(folder, "adapter_config.json"), [new TextEncoder().encode(text)]);
}
