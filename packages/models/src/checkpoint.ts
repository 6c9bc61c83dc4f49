// A model folder on disk: config.json and weights that fit each other, tensor by tensor.

import { parseStrictJson } from "@tunesmith/core";
import type { Files, JsonValue } from "@tunesmith/core";
import { openModel, toF32 } from "@tunesmith/safetensors";
import type { TensorSource } from "@tunesmith/safetensors";
import { BYTES_PER_ELEMENT } from "@tunesmith/tensor";
import type { DenseFormat } from "@tunesmith/tensor";
import type { OuterNames } from "./architecture.ts";
import { architectureOf } from "./architectures/registry.ts";
import type { PlainSource } from "./build.ts";
import { parseModelConfig } from "./config.ts";
import type { ModelConfig } from "./config.ts";
import { ModelError } from "./errors.ts";
import { parameterShapes } from "./parameters.ts";
import { quantizationOf, refuseQuantized } from "./quantization.ts";
import type { MatrixDecoder, StoredMatrix, WeightCodec } from "./weight-codec.ts";

const FORMATS: Readonly<Record<string, DenseFormat>> = { F32: "f32", F16: "f16", BF16: "bf16" };

/** Reads `config.json` of a model folder. */
export async function readModelConfig(files: Files, folder: string): Promise<ModelConfig> {
  const path = files.join(folder, "config.json");
  return parseModelConfig(await readJson(files, path), path);
}

async function readJson(files: Files, path: string): Promise<JsonValue> {
  const file = await files.open(path);
  try {
    const bytes = await file.read(0, file.size);
    return parseStrictJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes), { path });
  } finally {
    await file.close();
  }
}

/**
 * Checks a model folder without a device and without reading weights: config.json, the files, and that every tensor is
 * there under its name with its shape and a dtype that loads.
 * @throws whatever `loadModel` throws before the first weight is read
 */
export async function checkModel(files: Files, folder: string, codec?: WeightCodec): Promise<ModelConfig> {
  const { config, tensors } = await openChecked(files, folder, codec);
  await tensors.close();
  return config;
}

/** A checkpoint whose tensors fit its config. */
interface OpenCheckpoint {
  readonly config: ModelConfig;
  /** closed by the caller */
  readonly tensors: TensorSource;
  readonly quantized: boolean;
  /** matrices that are not one plain tensor, by name */
  readonly stored: ReadonlyMap<string, StoredMatrix>;
}

/** Opens a folder whose tensors fit its config. */
export async function openChecked(files: Files, folder: string, codec?: WeightCodec): Promise<OpenCheckpoint> {
  const configPath = files.join(folder, "config.json");
  const json = await readJson(files, configPath);
  const config = parseModelConfig(json, configPath);
  const quantization = json instanceof Map ? quantizationOf(json, configPath) : undefined;
  if (quantization && !codec) refuseQuantized(configPath);
  const tensors = underFullNames(await openModel(files, folder), architectureOf(config.architecture)!.names);
  try {
    const decoder = quantization && codec?.decoder(quantization, { tensors, folder, configPath });
    return {
      config,
      tensors,
      quantized: quantization !== undefined,
      stored: await checkNames(config, tensors, folder, decoder),
    };
  } catch (error) {
    await tensors.close();
    throw error;
  }
}

/** Checkpoints of the bare decoder, without a head, leave the prefix of all names out. */
function underFullNames(source: TensorSource, { prefix, head }: OuterNames): TensorSource {
  const names = [...source.tensors.keys()];
  if (names.some((name) => name.startsWith(prefix))) return source;
  const stored = new Map(names.map((name) => [name.startsWith(`${head}.`) ? name : prefix + name, name]));
  return {
    tensors: new Map([...stored].map(([full, name]) => [full, source.tensors.get(name)!])),
    read: (name) => source.read(stored.get(name) ?? name),
    readRange: (name, offset, length) => source.readRange(stored.get(name) ?? name, offset, length),
    close: () => source.close(),
  };
}

/** How a plain tensor of a checked checkpoint is stored. */
export function denseFormat({ tensors }: TensorSource, name: string): DenseFormat {
  return FORMATS[tensors.get(name)!.dtype]!;
}

/** One parameter of an open checkpoint. */
export function fromCheckpoint(tensors: TensorSource, name: string): PlainSource {
  const { dtype, shape } = tensors.tensors.get(name)!;
  const format = denseFormat(tensors, name);
  const cols = shape[1] ?? 1;
  const width = BYTES_PER_ELEMENT[format];
  return {
    format,
    f32: async () => toF32(await tensors.read(name), dtype),
    rows: async (first, count) => {
      const bytes = await tensors.readRange(name, first * cols * width, count * cols * width);
      const copy = bytes.slice().buffer; // aligned, whatever the file's offsets are
      return format === "f32" ? new Float32Array(copy) : new Uint16Array(copy);
    },
  };
}

async function checkNames(
  config: ModelConfig,
  tensors: TensorSource,
  folder: string,
  decoder: MatrixDecoder | undefined,
): Promise<Map<string, StoredMatrix>> {
  const wanted = parameterShapes(config);
  const { names } = architectureOf(config.architecture)!;
  const [head, embedding] = [`${names.head}.weight`, `${names.embedding}.weight`];
  const stored = new Map<string, StoredMatrix>();
  const explained = new Set<string>();
  for (const [name, shape] of wanted) {
    const matrix = shape.length === 2 ? await decoder?.find(name, shape as [number, number]) : undefined;
    if (matrix) {
      stored.set(name, matrix);
      for (const part of matrix.tensors) explained.add(part);
      continue;
    }
    const found = tensors.tensors.get(name);
    if (!found)
      throw new ModelError(
        "TENSOR_MISSING",
        `${folder}: the checkpoint has no tensor ${name}, which config.json asks for`,
        {
          path: folder,
          expected: `${name} [${shape.join(", ")}]`,
          fix: "get the model again; a file may be missing, or config.json belongs to another model",
        },
      );
    if (found.shape.join() !== shape.join())
      throw new ModelError(
        "TENSOR_MISMATCH",
        `${folder}: tensor ${name} has shape [${found.shape.join(", ")}], but config.json says [${shape.join(", ")}]`,
        {
          path: folder,
          received: `[${found.shape.join(", ")}]`,
          expected: `[${shape.join(", ")}]`,
          fix: "use the config.json that came with these weights",
        },
      );
    if (!FORMATS[found.dtype])
      throw new ModelError(
        "TENSOR_MISMATCH",
        `${folder}: tensor ${name} has dtype ${found.dtype}, which this version does not load`,
        {
          path: folder,
          received: found.dtype,
          expected: Object.keys(FORMATS).join(", "),
          fix: "use a checkpoint with f32, f16 or bf16 weights",
        },
      );
  }
  for (const name of tensors.tensors.keys()) {
    if (wanted.has(name) || explained.has(name) || names.ignored?.test(name)) continue;
    if (config.tiedHead && name === head && (await equalBytes(tensors, name, embedding))) continue;
    throw new ModelError(
      "TENSOR_UNEXPECTED",
      `${folder}: the checkpoint has a tensor ${name} that config.json does not explain`,
      {
        path: folder,
        received: name,
        fix:
          config.tiedHead && name === head
            ? "its values differ from the embedding: set tie_word_embeddings to false in config.json"
            : "use the config.json that came with these weights",
      },
    );
  }
  return stored;
}

async function equalBytes(tensors: TensorSource, a: string, b: string): Promise<boolean> {
  const [x, y] = [tensors.tensors.get(a)!, tensors.tensors.get(b)!];
  if (x.dtype !== y.dtype || x.shape.join() !== y.shape.join()) return false;
  const total = x.end - x.start;
  const block = 1 << 22;
  for (let at = 0; at < total; at += block) {
    const n = Math.min(block, total - at);
    const [p, q] = [await tensors.readRange(a, at, n), await tensors.readRange(b, at, n)];
    if (p.some((v, i) => v !== q[i])) return false;
  }
  return true;
}
