// What bench/quality.mjs compares, by name. A variant is the `tune` of a config, with what else it needs.

/**
 * @typedef {object} Variant
 * @property {Readonly<Record<string, any>>} tune as in a config
 * @property {string} [model] folder below models/ of the fixtures; default stories260K, stored in f32
 * @property {Readonly<Record<string, unknown>>} [train] what differs from the others, such as the learning rate of another method
 */

const BF16 = "stories260K-bf16-sharded";
const LAST_LAYERS = ["model.layers.3", "model.layers.4", "model.norm"];
const NF4 = { method: "qlora", quant: { type: "nf4", double_quant: true } };

/** @type {Readonly<Record<string, Variant>>} */
export const VARIANTS = {
  "r 4": { tune: { r: 4, alpha: 32 } },
  "r 16": { tune: { r: 16, alpha: 32 } },
  "r 64": { tune: { r: 64, alpha: 32 } },
  "r 64, rsLoRA": { tune: { r: 64, alpha: 32, use_rslora: true } },
  "r 16, q and v only": { tune: { r: 16, alpha: 32, target_modules: ["q_proj", "v_proj"] } },
  "r 16, DoRA": { tune: { r: 16, alpha: 32, use_dora: true } },
  "r 16, bf16 base": { model: BF16, tune: { r: 16, alpha: 32 } },
  "r 16, NF4 base": { tune: { ...NF4, r: 16, alpha: 32 } },
  full: { tune: { method: "full" }, train: { learning_rate: 1e-3 } },
  "freeze all but 2 layers": { tune: { method: "freeze", unfreeze: LAST_LAYERS }, train: { learning_rate: 1e-3 } },
  "r 64, rsLoRA, NF4 base": { tune: { ...NF4, r: 64, alpha: 32, use_rslora: true } },
};
