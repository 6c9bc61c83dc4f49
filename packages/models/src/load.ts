// Builds a model from a folder, or draws a fresh one. Matrices stay in the format they have on disk; norms and biases
// are small and become f32. Whoever wants to train a parameter says where it lives.

import { hash32, parseStrictJson, uniform } from "@tunesmith/core";
import { ropeTables } from "@tunesmith/autograd";
import type { Files } from "@tunesmith/core";
import { openModel, toF32 } from "@tunesmith/safetensors";
import type { TensorSource } from "@tunesmith/safetensors";
import { BYTES_PER_ELEMENT, state } from "@tunesmith/tensor";
import type { Device, Tensor, TensorData, Weight, WeightFormat, WeightShard } from "@tunesmith/tensor";
import { parseModelConfig } from "./config.ts";
import type { ModelConfig } from "./config.ts";
import type { DecoderLayer, Linear, Model } from "./decoder.ts";
import { ModelError } from "./errors.ts";
import { parameterShapes } from "./parameters.ts";
import { inverseFrequencies } from "./rope.ts";

export interface LoadOptions {
  /** positions to prepare the rotary tables for; default: the config's, at most 8192 */
  readonly positions?: number;
  /**
   * Where a parameter lives if it is trained: f32 tensors that hold its consecutive rows and that loading fills.
   * Undefined leaves the parameter frozen, in the format it has on disk.
   */
  readonly place?: (name: string) => readonly PlacedRows[] | undefined;
}

/** Some rows of a trained parameter. */
export interface PlacedRows {
  readonly firstRow: number;
  readonly values: Tensor<"f32">;
}

const FORMATS: Readonly<Record<string, WeightFormat>> = { F32: "f32", F16: "f16", BF16: "bf16" };
/** Buffers that old checkpoints carry and that hold nothing a config does not say. */
const IGNORED = /(^|\.)rotary_emb\.inv_freq$/;

/** Reads `config.json` of a model folder. */
export async function readModelConfig(files: Files, folder: string): Promise<ModelConfig> {
  const path = files.join(folder, "config.json");
  const file = await files.open(path);
  try {
    const bytes = await file.read(0, file.size);
    return parseModelConfig(parseStrictJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes), { path }), path);
  } finally {
    await file.close();
  }
}

/**
 * Checks a model folder without a device and without reading weights: config.json, the files, and that every tensor is
 * there under its name with its shape and a dtype that loads.
 * @throws whatever {@link loadModel} throws before the first weight is read
 */
export async function checkModel(files: Files, folder: string): Promise<ModelConfig> {
  const { config, tensors } = await openChecked(files, folder);
  await tensors.close();
  return config;
}

/**
 * Loads a Hugging Face model folder (config.json and model.safetensors, or shards with their index).
 * @throws ModelError for a tensor that is missing, unexpected, of the wrong shape or of a dtype other than F32, F16, BF16
 */
export async function loadModel(
  device: Device,
  files: Files,
  folder: string,
  options: LoadOptions = {},
): Promise<Model> {
  const { config, tensors } = await openChecked(files, folder);
  try {
    return await build(device, config, options, (name) => fromCheckpoint(tensors, name));
  } finally {
    await tensors.close();
  }
}

/** The caller closes `tensors`. */
async function openChecked(files: Files, folder: string): Promise<{ config: ModelConfig; tensors: TensorSource }> {
  const config = await readModelConfig(files, folder);
  const tensors = await openModel(files, folder);
  try {
    await checkNames(config, tensors, folder);
    return { config, tensors };
  } catch (error) {
    await tensors.close();
    throw error;
  }
}

/**
 * A model with freshly drawn weights: N(0, initializer_range) for matrices, 1 for norms, 0 for biases. Every value is a
 * pure function of (seed, name, index).
 */
export function drawModel(
  device: Device,
  config: ModelConfig,
  options: LoadOptions & { seed: number },
): Promise<Model> {
  return build(device, config, options, (name, shape) => {
    const values = drawParameter(name, shape, config.initializerRange, options.seed);
    const cols = shape[1] ?? 1;
    return {
      format: "f32",
      f32: () => Promise.resolve(values),
      rows: (first, count) => Promise.resolve(values.subarray(first * cols, (first + count) * cols)),
    };
  });
}

/** One parameter's data, wherever it comes from. */
interface Source {
  readonly format: WeightFormat;
  /** all elements, widened */
  f32(): Promise<Float32Array>;
  /** rows in the stored format */
  rows(first: number, count: number): Promise<TensorData>;
}

async function build(
  device: Device,
  config: ModelConfig,
  options: LoadOptions,
  source: (name: string, shape: readonly number[]) => Source,
): Promise<Model> {
  const shapes = parameterShapes(config);
  const owned: Tensor[] = [];
  const own = <T extends Tensor>(tensor: T): T => {
    owned.push(tensor);
    return tensor;
  };
  const vector = async (name: string): Promise<Tensor> => {
    const shape = shapes.get(name)!;
    const data = await source(name, shape).f32();
    const [placed] = options.place?.(name) ?? [];
    if (!placed) return own(state(device, { shape, dtype: "f32", category: "weights", label: name, data }));
    placed.values.write(data);
    return placed.values;
  };
  const matrix = async (name: string): Promise<Weight> => {
    const shape = shapes.get(name)! as readonly [number, number];
    const from = source(name, shape);
    const placed = options.place?.(name);
    if (placed) return placedMatrix(shape, await from.f32(), placed);
    return frozenMatrix(device, name, shape, from, own);
  };
  const linear = async (path: string): Promise<Linear> => ({
    path,
    weight: await matrix(`${path}.weight`),
    bias: shapes.has(`${path}.bias`) ? await vector(`${path}.bias`) : undefined,
  });

  const embed_tokens = await matrix("model.embed_tokens.weight");
  const layers: DecoderLayer[] = [];
  for (let i = 0; i < config.layers; i++) {
    const at = `model.layers.${i}`;
    layers.push({
      input_layernorm: await vector(`${at}.input_layernorm.weight`),
      self_attn: {
        q_proj: await linear(`${at}.self_attn.q_proj`),
        k_proj: await linear(`${at}.self_attn.k_proj`),
        v_proj: await linear(`${at}.self_attn.v_proj`),
        o_proj: await linear(`${at}.self_attn.o_proj`),
        q_norm: config.qkNorm ? await vector(`${at}.self_attn.q_norm.weight`) : undefined,
        k_norm: config.qkNorm ? await vector(`${at}.self_attn.k_norm.weight`) : undefined,
      },
      post_attention_layernorm: await vector(`${at}.post_attention_layernorm.weight`),
      mlp: {
        gate_proj: await linear(`${at}.mlp.gate_proj`),
        up_proj: await linear(`${at}.mlp.up_proj`),
        down_proj: await linear(`${at}.mlp.down_proj`),
      },
    });
  }
  const norm = await vector("model.norm.weight");
  const lm_head = config.tiedHead ? embed_tokens : await matrix("lm_head.weight");
  const positions = options.positions ?? Math.min(config.maxPositions, 8192);
  const tables = ropeTables(inverseFrequencies(config.rope, config.headDim), positions);
  const table = (label: "cosines" | "sines"): Tensor =>
    own(
      state(device, {
        shape: [positions, config.headDim / 2],
        dtype: "f32",
        category: "weights",
        label: `rope ${label}`,
        data: tables[label],
      }),
    );
  return {
    device,
    config,
    embed_tokens,
    layers,
    norm,
    lm_head,
    rotary: { cosines: table("cosines"), sines: table("sines") },
    positions,
    dispose: () => owned.forEach((tensor) => tensor.dispose()),
  };
}

/** Fills the tensors that hold a trained matrix. */
function placedMatrix(shape: readonly [number, number], data: Float32Array, placed: readonly PlacedRows[]): Weight {
  const shards = placed.map(({ firstRow, values }) => {
    const rows = values.shape[0]!;
    values.write(data.subarray(firstRow * shape[1], (firstRow + rows) * shape[1]));
    return { tensor: values, firstRow, rows };
  });
  return { shape, format: "f32", shards };
}

/** Uploads a matrix in its stored format, as row shards that each fit a binding. */
async function frozenMatrix(
  device: Device,
  name: string,
  [rows, cols]: readonly [number, number],
  from: Source,
  own: <T extends Tensor>(tensor: T) => T,
): Promise<Weight> {
  const bytesPerRow = cols * BYTES_PER_ELEMENT[from.format];
  const most = Math.floor((device.facts.maxBindingBytes - 16) / bytesPerRow);
  const count = Math.ceil(rows / most);
  // shards of equal size, rounded to 64 rows so that tiles stay whole
  const perShard = count === 1 ? rows : Math.min(most, Math.ceil(rows / count / 64) * 64);
  const shards: WeightShard[] = [];
  for (let first = 0; first < rows; first += perShard) {
    const n = Math.min(perShard, rows - first);
    const data = await from.rows(first, n);
    const tensor = own(state(device, { shape: [n, cols], dtype: from.format, category: "weights", label: name, data }));
    shards.push({ tensor, firstRow: first, rows: n });
  }
  return { shape: [rows, cols], format: from.format, shards };
}

function fromCheckpoint(tensors: TensorSource, name: string): Source {
  const { dtype, shape } = tensors.tensors.get(name)!;
  const format = FORMATS[dtype]!;
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

async function checkNames(config: ModelConfig, tensors: TensorSource, folder: string): Promise<void> {
  const wanted = parameterShapes(config);
  for (const [name, shape] of wanted) {
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
    if (wanted.has(name) || IGNORED.test(name)) continue;
    if (config.tiedHead && name === "lm_head.weight" && (await equalBytes(tensors, name, "model.embed_tokens.weight")))
      continue;
    throw new ModelError(
      "TENSOR_UNEXPECTED",
      `${folder}: the checkpoint has a tensor ${name} that config.json does not explain`,
      {
        path: folder,
        received: name,
        fix:
          config.tiedHead && name === "lm_head.weight"
            ? "its values differ from the embedding: set tie_word_embeddings to false in config.json"
            : "use the config.json that came with these weights",
      },
    );
  }
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

/** Box–Muller on the counter generator; one value per index. */
function drawParameter(name: string, shape: readonly number[], std: number, seed: number): Float32Array {
  const size = shape.reduce((n, d) => n * d, 1);
  if (shape.length === 1) return new Float32Array(size).fill(name.endsWith("bias") ? 0 : 1);
  const site = hash32(name);
  return Float32Array.from({ length: size }, (_, i) => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform(seed, site, 0, 2 * i)));
    return std * radius * Math.cos(2 * Math.PI * uniform(seed, site, 0, 2 * i + 1));
  });
}
