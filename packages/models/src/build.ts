// Puts parameters on a device: matrices in the format they are stored in, norms and biases as f32. Whoever wants to train a
// parameter says where it lives.

import { ropeTables } from "@tunesmith/autograd";
import { state, weightShards } from "@tunesmith/tensor";
import type { Device, Tensor, TensorData, Weight, DenseFormat, WeightShard } from "@tunesmith/tensor";
import { architectureOf } from "./architectures/registry.ts";
import type { ModelConfig } from "./config.ts";
import type { Layer, Model, Rotary } from "./decoder.ts";
import { ModelError } from "./errors.ts";
import { linearPaths, parameterShapes } from "./parameters.ts";
import { ofOneInput, sideBySide, uploadRows } from "./side-by-side.ts";
import { inverseFrequencies, rotaryScale } from "./rope.ts";
import type { RopeConfig } from "./rope.ts";
import { fill, norm } from "./tree.ts";
import type { StoredMatrix, WeightCodec } from "./weight-codec.ts";

export interface LoadOptions {
  /** positions to prepare; default: the config's, at most 8192 */
  readonly positions?: number;
  /**
   * Where a parameter lives if it is trained: f32 tensors that hold its consecutive rows and that loading fills.
   * Undefined leaves the parameter frozen, in the format it has on disk.
   */
  readonly place?: (name: string) => readonly PlacedRows[] | undefined;
  /** reads and makes matrices in formats that plain checkpoints do not have */
  readonly codec?: WeightCodec;
}

/** Some rows of a trained parameter. */
export interface PlacedRows {
  readonly firstRow: number;
  readonly values: Tensor<"f32">;
}

/** One parameter's data, wherever it comes from. */
export type ParameterSource = PlainSource | StoredMatrix;

export interface PlainSource {
  readonly format: DenseFormat;
  /** all elements, widened */
  f32(): Promise<Float32Array>;
  /** rows in the stored format */
  rows(first: number, count: number): Promise<TensorData<DenseFormat>>;
}

/** A model whose parameters come from `source`. */
export async function build(
  device: Device,
  config: ModelConfig,
  options: LoadOptions & { encode?: WeightCodec | undefined },
  source: (name: string, shape: readonly number[]) => ParameterSource,
): Promise<Model> {
  const shapes = parameterShapes(config);
  const projections = new Set([...linearPaths(config).keys()].map((path) => `${path}.weight`));
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
    const weight = await frozenMatrix(
      device,
      { name, shape },
      from,
      projections.has(name) ? options.encode : undefined,
    );
    for (const { tensor } of weight.shards) own(tensor);
    return weight;
  };
  // in the order of the checkpoint, whatever is loaded first
  const parameters = new Map<string, Tensor | Weight>([...shapes.keys()].map((name) => [name, undefined as never]));
  const plain = (name: string): boolean =>
    options.place?.(name) === undefined && !(options.encode && projections.has(name));
  for (const names of ofOneInput(shapes)) {
    const joined =
      names.length > 1 &&
      names.every(plain) &&
      (await sideBySide(
        device,
        names.map((name) => {
          const shape = shapes.get(name)! as readonly [number, number];
          return { name, shape, from: source(name, shape) };
        }),
      ));
    if (joined) {
      own(joined.memory);
      for (const [name, weight] of joined.weights) parameters.set(name, weight);
    } else
      for (const name of names)
        parameters.set(name, await (shapes.get(name)!.length === 1 ? vector(name) : matrix(name)));
  }

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

/** A matrix in the format the codec gives it, else in its stored one, as row shards that each fit a binding. */
async function frozenMatrix(
  device: Device,
  { name, shape }: { name: string; shape: readonly [number, number] },
  from: ParameterSource,
  codec: WeightCodec | undefined,
): Promise<Weight> {
  if ("load" in from) return from.load(device);
  const { format } = from;
  const encoded = codec?.encode(device, { name, shape, format, rows: from.rows });
  if (encoded) return encoded;
  const shards: WeightShard[] = [];
  for (const { firstRow, rows } of weightShards(shape, { format }, device.facts.maxBindingBytes)) {
    const tensor = state(device, { shape: [rows, shape[1]], dtype: format, category: "weights", label: name });
    await uploadRows(tensor, from, firstRow);
    shards.push({ tensor, firstRow, rows });
  }
  return { shape, format, shards };
}
