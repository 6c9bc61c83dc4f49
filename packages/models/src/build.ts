// Puts parameters on a device: matrices in the format they are stored in, norms and biases as f32. Whoever wants to train a
// parameter says where it lives.

import { ropeTables } from "@tunesmith/autograd";
import { BYTES_PER_ELEMENT, state } from "@tunesmith/tensor";
import type { Device, Tensor, TensorData, Weight, DenseFormat, WeightShard } from "@tunesmith/tensor";
import { architectureOf } from "./architectures/registry.ts";
import type { ModelConfig } from "./config.ts";
import type { Layer, Model, Rotary } from "./decoder.ts";
import { ModelError } from "./errors.ts";
import { parameterShapes } from "./parameters.ts";
import { inverseFrequencies, rotaryScale } from "./rope.ts";
import type { RopeConfig } from "./rope.ts";
import { fill, norm } from "./tree.ts";

export interface LoadOptions {
  /** positions to prepare; default: the config's, at most 8192 */
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
  const parameters = new Map<string, Tensor | Weight>();
  for (const [name, shape] of shapes) parameters.set(name, await (shape.length === 1 ? vector(name) : matrix(name)));

  const dispose = (): void => owned.forEach((tensor) => tensor.dispose());
  return assembleModel(device, config, parameters, { ...options, dispose });
}

/**
 * A model over parameters that are on the device already.
 *
 * @param parameters - all of `parameterShapes` by name: vectors as f32 tensors, matrices as weights
 * @param options.positions - positions to prepare; default: the config's, at most 8192
 * @param options.dispose - gives the parameters' memory back
 * @throws ModelError `CONTEXT_TOO_LONG` for more positions than a model with bounded positions has
 */
export function assembleModel(
  device: Device,
  config: ModelConfig,
  parameters: ReadonlyMap<string, Tensor | Weight>,
  options: { readonly positions?: number; readonly dispose: () => void },
): Model {
  const { names, layer, block } = architectureOf(config.architecture)!;
  const table = (path: string): Weight => parameters.get(`${path}.weight`) as Weight;
  const embedding = table(names.embedding);
  const layers = Array.from({ length: config.layers }, (_, i): Layer => {
    const tensors = fill(layer(config), `${names.layers}.${i}`, parameters);
    return (x, context) => block(x, tensors as never, context);
  });
  const positions = preparedPositions(config, options.positions);
  const rotary = rotaryTables(device, config, positions);
  return {
    device,
    config,
    parameters,
    embedding,
    positionEmbedding: names.positions === undefined ? undefined : table(names.positions),
    layers,
    norm: fill(norm(config.hiddenSize, config.norm === "layer"), names.norm, parameters),
    lm_head: config.tiedHead ? embedding : table(names.head),
    rotary,
    positions,
    dispose: () => {
      for (const tables of new Set(rotary)) {
        tables?.cosines.dispose();
        tables?.sines.dispose();
      }
      options.dispose();
    },
  };
}

function preparedPositions(config: ModelConfig, wanted: number = Math.min(config.maxPositions, 8192)): number {
  if (config.positionsAreBounded && wanted > config.maxPositions)
    throw new ModelError(
      "CONTEXT_TOO_LONG",
      `${wanted} positions were asked for, but this ${config.architecture} model knows ${config.maxPositions}${config.learnedPositions ? "" : ": its rotary frequencies beyond are not implemented"}`,
      {
        received: String(wanted),
        expected: `at most ${config.maxPositions}`,
        fix: "shorten the text, or lower max_length",
      },
    );
  return wanted;
}

/** One pair of tables for all layers with the same frequencies. */
function rotaryTables(device: Device, config: ModelConfig, positions: number): (Rotary | undefined)[] {
  const shape = [positions, config.rotaryDim / 2];
  const made = new Map<RopeConfig, Rotary>();
  return config.ropes.map((rope) => {
    if (!rope) return undefined;
    const known = made.get(rope);
    if (known) return known;
    const { cosines, sines } = ropeTables(inverseFrequencies(rope, config.rotaryDim), positions, rotaryScale(rope));
    const table = (label: string, data: Float32Array): Tensor =>
      state(device, { shape, dtype: "f32", category: "weights", label, data });
    const rotary = { cosines: table("rope cosines", cosines), sines: table("rope sines", sines) };
    made.set(rope, rotary);
    return rotary;
  });
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
