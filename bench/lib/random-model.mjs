// A model whose weights are drawn on the device by a counter-based hash: nothing large is uploaded, so that a benchmark
// of a large model starts at once, on a machine that has no checkpoint.
import { assembleModel, ofOneInput, parameterShapes } from "@tunesmith/models";
import { BYTES_PER_ELEMENT, defineKernel, GROUP_INDEX, launch, MAIN_ARGS, state, viewOf } from "@tunesmith/tensor";

/** @import { Model, ModelConfig } from "@tunesmith/models" */
/** @import { Device, Tensor, Weight, DenseFormat } from "@tunesmith/tensor" */

const LANES = 64;
const WORDS_PER_LANE = 16;

/** Uniform in ±limit, two 16-bit elements or one f32 per word; a function of (seed, index) alone. */
const drawWords = defineKernel({
  label: "draw_words",
  params: { words: "u32", seed: "u32", limit: "f32" },
  reads: {},
  writes: { out: "u32" },
  workgroups: ({ words }) => Math.ceil(words / (LANES * WORDS_PER_LANE)),
  // PCG output function, Jarzynski & Olano 2020, "Hash Functions for GPU Rendering"
  wgsl: ({ format }) => /* wgsl */ `
    fn random(index: u32) -> f32 {
      let state = (index ^ p.seed) * 747796405u + 2891336453u;
      let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
      return p.limit * (f32(((word >> 22u) ^ word) >> 8u) * (2.0 / 16777216.0) - 1.0);
    }
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let first = (group * ${LANES}u + lane) * ${WORDS_PER_LANE}u;
      for (var i = first; i < min(first + ${WORDS_PER_LANE}u, p.words); i++) {
        ${
          {
            f32: "out[i] = bitcast<u32>(random(i));",
            f16: "out[i] = pack2x16float(vec2f(random(2u * i), random(2u * i + 1u)));",
            bf16: "out[i] = (bitcast<u32>(random(2u * i)) >> 16u) | (bitcast<u32>(random(2u * i + 1u)) & 0xffff0000u);",
          }[/** @type {DenseFormat} */ (format)]
        }
      }
    }`,
});

/**
 * @param {Device} device
 * @param {ModelConfig} config
 * @param {{ format: DenseFormat, positions: number }} options format of the matrices; norms and biases are f32
 * @returns {Model}
 */
export function randomModel(device, config, { format, positions }) {
  const shapes = parameterShapes(config);
  /** @type {Tensor[]} */
  const owned = [];
  /** @type {<T extends Tensor>(tensor: T) => T} */
  const own = (tensor) => {
    owned.push(tensor);
    return tensor;
  };
  let seed = 0;

  /** @param {string} name */
  const vector = (name) => {
    const shape = shapes.get(name) ?? [0];
    const data = new Float32Array(shape[0] ?? 0).fill(name.endsWith("bias") || config.norm === "rms_offset" ? 0 : 1);
    return own(state(device, { shape, dtype: "f32", category: "weights", label: name, data }));
  };
  /** @param {Tensor} tensor */
  const draw = (tensor) =>
    launch(drawWords, {
      spec: { format },
      params: {
        words: Math.floor((tensor.size * BYTES_PER_ELEMENT[format]) / 4),
        seed: Math.imul(++seed, 0x9e3779b1) >>> 0,
        limit: config.initializerRange * Math.sqrt(3), // a uniform variable's standard deviation is limit / √3
      },
      reads: {},
      writes: { out: tensor },
    });
  /**
   * @param {string} name
   * @returns {Weight}
   */
  const matrix = (name) => {
    const [rows = 0, cols = 0] = shapes.get(name) ?? [];
    const perBinding = Math.floor((device.facts.maxBindingBytes - 16) / (cols * BYTES_PER_ELEMENT[format]));
    const count = Math.ceil(rows / perBinding);
    const perShard = count === 1 ? rows : Math.ceil(rows / count / 64) * 64;
    const shards = [];
    for (let firstRow = 0; firstRow < rows; firstRow += perShard) {
      const shape = [Math.min(perShard, rows - firstRow), cols];
      const tensor = own(state(device, { shape, dtype: format, category: "weights", label: name }));
      draw(tensor);
      shards.push({ tensor, firstRow, rows: shape[0] ?? 0 });
    }
    return { shape: [rows, cols], format, shards };
  };
  /**
   * Matrices of one input in one piece of memory, as a loaded model has them; undefined where that cannot be.
   * @param {string[]} names
   * @returns {[string, Weight][] | undefined}
   */
  const sideBySide = (names) => {
    const sizes = names.map((name) => shapes.get(name) ?? []);
    const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((sum, [rows = 0, cols = 0]) => sum + rows * cols, 0));
    const total = sizes.reduce((sum, [rows = 0, cols = 0]) => sum + rows * cols, 0);
    const bytes = BYTES_PER_ELEMENT[format];
    const aligned = starts.every((start) => (start * bytes) % device.facts.offsetAlignment === 0);
    if (names.length === 1 || !aligned || total * bytes > device.facts.maxBindingBytes) return undefined;
    const label = names.join(", ");
    const memory = own(state(device, { shape: [total], dtype: format, category: "weights", label }));
    draw(memory);
    return names.map((name, i) => {
      const [rows = 0, cols = 0] = sizes[i] ?? [];
      const tensor = viewOf(memory, starts[i] ?? 0, [rows, cols]);
      return [name, { shape: [rows, cols], format, shards: [{ tensor, firstRow: 0, rows }] }];
    });
  };
  /** @type {Map<string, Tensor | Weight>} */
  const parameters = new Map();
  for (const names of ofOneInput(shapes))
    for (const [name, weight] of sideBySide(names) ?? names.map((name) => /** @type {const} */ ([name, undefined])))
      parameters.set(name, weight ?? (shapes.get(name)?.length === 1 ? vector(name) : matrix(name)));
  const dispose = () => owned.forEach((tensor) => tensor.dispose());
  return assembleModel(device, config, parameters, { positions, dispose });
}
