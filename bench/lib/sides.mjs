// Who runs a LoRA step: we, and PyTorch's trainers where a Python that has them is named.
import { resolve } from "node:path";
import { jsonLines } from "./child.mjs";
import { assertShape, SHAPES } from "./shapes.mjs";

/** @import { StepJob, StepResult } from "../children/lora-step.mjs" */

/** @typedef {{ framework: string, weights: string, recompute: boolean }} Side */

/** Options of `parseArgs` that every benchmark of LoRA steps takes. */
export const SIDE_OPTIONS = /** @type {const} */ ({
  rank: { type: "string", default: "16" },
  weights: { type: "string", multiple: true, default: /** @type {string[]} */ (["bf16"]) },
  recompute: { type: "boolean", default: false },
  "warm-up": { type: "string", default: "2" },
  steps: { type: "string", default: "5" },
  rounds: { type: "string", default: "2" },
  torch: { type: "string" },
  rival: { type: "string", multiple: true, default: /** @type {string[]} */ (["trl"]) },
  "torch-weights": { type: "string", multiple: true },
  "torch-checkpointing": { type: "boolean", default: false },
  "torch-cpu": { type: "boolean", default: false },
  out: { type: "string" },
});

/**
 * @typedef {object} SideOptions
 * @property {string} rank
 * @property {string[]} weights
 * @property {boolean} recompute
 * @property {string} warm-up
 * @property {string} steps
 * @property {string | undefined} [torch]
 * @property {string[]} rival
 * @property {string[] | undefined} [torch-weights]
 * @property {boolean} torch-checkpointing
 * @property {boolean} torch-cpu
 */

/**
 * Ours first.
 * @param {SideOptions} options
 * @returns {Side[]}
 */
export function sidesOf(options) {
  const rivals = options.torch === undefined ? [] : options.rival;
  return [
    ...options.weights.map((weights) => ({ framework: "tunesmith", weights, recompute: options.recompute })),
    ...rivals.flatMap((framework) =>
      (options["torch-weights"] ?? options.weights).map((weights) => ({
        framework,
        weights,
        recompute: options["torch-checkpointing"],
      })),
    ),
  ];
}

/** @param {Side} side */
export function sideName({ framework, weights, recompute }) {
  return `${framework} ${weights}${recompute ? ", recomputing" : ""}`;
}

/**
 * Runs one side's steps in a process of its own.
 * @param {Side} side
 * @param {{ shape: string, rows: number, length: number }} size
 * @param {SideOptions} options
 * @returns {StepResult}
 */
export function runSide({ framework, weights, recompute }, { shape, rows, length }, options) {
  assertShape(shape);
  /** @type {StepJob} */
  const job = {
    config: SHAPES[shape],
    rows,
    length,
    rank: Number(options.rank),
    weights: /** @type {StepJob["weights"]} */ (weights),
    recompute,
    torchCpu: options["torch-cpu"],
    warmUp: Number(options["warm-up"]),
    steps: Number(options.steps),
  };
  const json = JSON.stringify(job);
  const children = resolve(import.meta.dirname, "..", "children");
  const [result] =
    framework === "tunesmith"
      ? jsonLines(process.execPath, [resolve(children, "lora-step.mjs"), json])
      : jsonLines(options.torch ?? "", [resolve(children, "lora_step.py"), framework, json]);
  return result;
}
