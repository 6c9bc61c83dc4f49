// Writes a model folder whose projections are stored in four bits, as bitsandbytes stores them.

import { mkdir, readdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Files } from "@tunesmith/core";
import {
  bitsandbytesConfig,
  type FourBitOptions,
  LoraError,
  withQuantizationConfig,
  writeBitsandbytes,
} from "@tunesmith/lora";
import { checkModel, linearPaths } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import { openModel } from "@tunesmith/safetensors";
import type { Context, Outcome } from "../context.ts";
import { CliError } from "../errors.ts";
import type { Options } from "../flags.ts";
import { readTextFile } from "../read-file.ts";
import { requireFolder } from "../tuned-model.ts";

type Flags = "model" | "out" | "type" | "double-quant" | "block-size";

const TYPES: readonly FourBitOptions["type"][] = ["nf4", "fp4"];
/** What belongs to the weights and is written anew. */
const WEIGHTS =
  /^config\.json$|\.safetensors(\.index\.json)?$|\.(bin|pt|pth|gguf|msgpack|h5|onnx)$|\.bin\.index\.json$/;
/** What bitsandbytes calls the checkpoint's own dtype. */
const COMPUTE = { F32: "float32", F16: "float16", BF16: "bfloat16" } as const;

export async function run(_: readonly string[], options: Options<Flags>, context: Context): Promise<Outcome> {
  const files = nodeFiles();
  const [model, out] = [resolve(context.cwd, options.model!), resolve(context.cwd, options.out!)];
  const settings = {
    type: typeFlag(options.type),
    doubleQuant: options.doubleQuant,
    blockSize: options.blockSize ?? 64,
  };
  await requireFolder(files, model, "config.json", "model folder");
  const config = await checkModel(files, model);
  const paths = linearPaths(config);
  refuseTurned(model, paths);
  const existed = await requireEmpty(out);

  const tensors = await openModel(files, model);
  try {
    const projections = new Set([...paths.keys()].map((path) => `${path}.weight`));
    await mkdir(out, { recursive: true });
    const { bytes, elements } = await writeBitsandbytes(
      files,
      join(out, "model.safetensors"),
      tensors,
      projections,
      settings,
    );
    await copyOthers(files, model, out);
    const first = [...projections][0]!;
    const computeDtype = COMPUTE[tensors.tensors.get(first)!.dtype as keyof typeof COMPUTE];
    const quantization = bitsandbytesConfig(settings, { computeDtype, skipModules: null });
    // the config last: a folder without it is no model
    await files.writeAtomic(join(out, "config.json"), [
      new TextEncoder().encode(withQuantizationConfig(await readTextFile(join(model, "config.json")), quantization)),
    ]);
    const bits = (8 * bytes) / elements;
    const document = {
      out,
      type: settings.type,
      double_quant: settings.doubleQuant,
      block_size: settings.blockSize,
      matrices: projections.size,
      parameters: elements,
      bits_per_parameter: bits,
    };
    return {
      document,
      text: `${projections.size} matrices of ${elements} parameters in ${settings.type}, ${bits.toFixed(3)} bits each, in ${out}`,
    };
  } catch (error) {
    if (!existed) await rm(out, { recursive: true, force: true });
    throw error;
  } finally {
    await tensors.close();
  }
}

/** @throws LoraError `QUANT_UNSUPPORTED` for weights that lie [in, out]: bitsandbytes stores them turned */
function refuseTurned(model: string, paths: ReturnType<typeof linearPaths>): void {
  const turned = [...paths].find(([, { layout }]) => layout === "in_out")?.[0];
  if (turned === undefined) return;
  throw new LoraError(
    "QUANT_UNSUPPORTED",
    `${model}: ${turned} is stored [in, out], which bitsandbytes turns before it quantizes`,
    {
      path: model,
      received: turned,
      expected: "weights stored [out, in]",
      fix: "train with tune.method: qlora, which quantizes such weights as they lie",
    },
  );
}

/** @throws CliError `FLAG_INVALID` */
function typeFlag(value: string | undefined): FourBitOptions["type"] {
  const found = TYPES.find((type) => type === (value ?? "nf4"));
  if (found !== undefined) return found;
  throw new CliError("FLAG_INVALID", `--type is ${value}`, {
    received: value!,
    expected: TYPES.join(" | "),
    fix: `use ${TYPES.join(" or ")}`,
  });
}

/**
 * Whether the folder is there, and empty.
 * @throws CliError `OUTPUT_EXISTS` rather than mixing two models
 */
async function requireEmpty(out: string): Promise<boolean> {
  const names = await readdir(out).catch(() => undefined);
  if (names === undefined || names.length === 0) return names !== undefined;
  throw new CliError("OUTPUT_EXISTS", `${out} exists and is not empty`, {
    path: out,
    fix: "name another folder with --out, or remove this one",
  });
}

/** Tokenizer, templates, generation settings: all files at the top of the folder that are no weights. */
async function copyOthers(files: Files, from: string, to: string): Promise<void> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (entry.isDirectory() || entry.name.startsWith(".") || WEIGHTS.test(entry.name)) continue;
    const source = await files.open(join(from, entry.name));
    try {
      await files.writeAtomic(join(to, entry.name), [await source.read(0, source.size)]);
    } finally {
      await source.close();
    }
  }
}
