// Puts parameters on a device: matrices in the format they are stored in, norms and biases as f32. Whoever wants to train a
// parameter says where it lives.

import { ropeTables } from "@tunesmith/autograd";
import { BYTES_PER_ELEMENT, state } from "@tunesmith/tensor";
import type { Device, Tensor, TensorData, Weight, DenseFormat, WeightShard } from "@tunesmith/tensor";
import type { ModelConfig } from "./config.ts";
import type { DecoderLayer, Linear, Model } from "./decoder.ts";
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

/** One parameter's data, wherever it comes from. */
export interface ParameterSource {
  readonly format: DenseFormat;
  /** all elements, widened */
  f32(): Promise<Float32Array>;
  /** rows in the stored format */
  rows(first: number, count: number): Promise<TensorData>;
}

/** A model whose parameters come from `source`. */
export async function build(
  device: Device,
  config: ModelConfig,
  options: LoadOptions,
  source: (name: string, shape: readonly number[]) => ParameterSource,
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
  from: ParameterSource,
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
