// `preset`: the field's defaults for a way of training, laid under what a person wrote. Each choice has its reason.

import { keyText } from "./source.ts";
import type { KeyPath } from "./source.ts";

export const PRESETS = ["lora", "qlora", "full", "small-data"] as const;
export type Preset = (typeof PRESETS)[number];

/** A value that a preset has for a key. */
export interface PresetChoice {
  readonly key: KeyPath;
  readonly value: unknown;
  readonly reason: string;
  /** the written key that decides instead; undefined where the preset decided */
  readonly overruledBy: KeyPath | undefined;
  /** the very value is written, as in a resolved config */
  readonly agrees: boolean;
}

interface Suggestion {
  readonly key: KeyPath;
  readonly value: unknown;
  readonly reason: string;
  /** keys that say the same in another way: one of them written, and this one is left alone */
  readonly or?: readonly KeyPath[];
}

const EPOCHS: KeyPath = ["train", "epochs"];
const BATCH: KeyPath = ["train", "batch_size"];
const ACCUMULATION: KeyPath = ["train", "grad_accumulation"];
const MAX_STEPS: readonly KeyPath[] = [["train", "max_steps"]];
const WARMUP_STEPS: readonly KeyPath[] = [["train", "warmup_steps"]];

const adapterDefaults = (method: "lora" | "qlora"): readonly Suggestion[] => [
  { key: ["tune", "method"], value: method, reason: "what the preset is for" },
  {
    key: ["train", "learning_rate"],
    value: 2e-4,
    reason: "adapters start at zero and take 1e-4 to 3e-4; lower it if a probe shows forgetting",
  },
  { key: BATCH, value: 8, or: [ACCUMULATION], reason: "adapters learn well from 4 to 8 rows per update" },
  { key: EPOCHS, value: 3, or: MAX_STEPS, reason: "on a few thousand rows more mostly recites them" },
  {
    key: ["train", "warmup_ratio"],
    value: 0.03,
    or: WARMUP_STEPS,
    reason: "the first updates of Adam's moments are noisy",
  },
  { key: ["train", "weight_decay"], value: 0.01, reason: "a light pull that keeps A and B from growing" },
];

const FULL: readonly Suggestion[] = [
  { key: ["tune", "method"], value: "full", reason: "what the preset is for" },
  {
    key: ["train", "learning_rate"],
    value: 2e-5,
    reason: "all weights move, a tenth of an adapter's rate; lower it if a probe shows forgetting",
  },
  { key: BATCH, value: 8, or: [ACCUMULATION], reason: "with grad_accumulation 2 it is 16 rows per update" },
  { key: ACCUMULATION, value: 2, or: [BATCH], reason: "8 to 16 rows per update, in the memory of 8" },
  { key: EPOCHS, value: 3, or: MAX_STEPS, reason: "3 to 5 are usual; start low" },
  {
    key: ["train", "warmup_ratio"],
    value: 0.05,
    or: WARMUP_STEPS,
    reason: "3 to 7 %: large first updates undo what the base knows",
  },
  { key: ["train", "weight_decay"], value: 0.01, reason: "0.01 to 0.05; norms and biases have none" },
];

const smallData = (method: unknown): readonly Suggestion[] => [
  method === "full" || method === "freeze"
    ? {
        key: ["train", "learning_rate"],
        value: 1e-5,
        reason: "half the usual rate: few rows are soon recited",
      }
    : {
        key: ["train", "learning_rate"],
        value: 1e-4,
        reason: "the low end for adapters: few rows are soon recited",
      },
  { key: BATCH, value: 4, or: [ACCUMULATION], reason: "few rows give few updates; small batches give more of them" },
  { key: EPOCHS, value: 15, or: MAX_STEPS, reason: "up to 15 to 20, since early stopping ends it in time" },
  { key: ["train", "warmup_ratio"], value: 0.05, or: WARMUP_STEPS, reason: "of few updates 3 % would be none" },
  { key: ["train", "weight_decay"], value: 0.01, reason: "a light pull against reciting" },
  {
    key: ["data", "eval_split"],
    value: 0.1,
    or: [["data", "eval"]],
    reason: "early stopping needs rows that do not train",
  },
  { key: ["eval", "every"], value: 20, reason: "the best point passes quickly" },
  { key: ["eval", "patience"], value: 5, reason: "early stopping: 100 updates without a lower eval loss" },
  { key: ["keep"], value: "best", reason: "what came after the lowest eval loss was reciting" },
];

/**
 * Lays a preset under a config as it was written.
 * @param written - before the schema has seen it
 * @returns the config with the preset's values where nothing was written, and what became of each of them
 */
export function applyPreset(written: unknown): { value: unknown; choices: readonly PresetChoice[] } {
  const preset = PRESETS.find((name) => name === at(written, ["preset"]));
  if (preset === undefined) return { value: written, choices: [] };
  let value = written;
  const choices: PresetChoice[] = [];
  for (const { or = [], ...suggestion } of suggestionsOf(preset, at(written, ["tune", "method"]))) {
    const overruledBy = [suggestion.key, ...or].find((key) => at(written, key) !== undefined);
    if (overruledBy === undefined) value = withDefault(value, suggestion.key, suggestion.value);
    choices.push({ ...suggestion, overruledBy, agrees: at(written, suggestion.key) === suggestion.value });
  }
  return { value, choices };
}

/** What a preset chose and what overruled it, a line each. */
export function presetLines(preset: Preset | undefined, choices: readonly PresetChoice[]): string[] {
  return choices
    .filter(({ agrees }) => !agrees)
    .map(({ key, value, reason, overruledBy }) =>
      overruledBy === undefined
        ? `preset ${preset}: ${keyText(key)} ${String(value)}: ${reason}`
        : `preset ${preset}: ${keyText(key)} ${String(value)} not taken: ${keyText(overruledBy)} is written`,
    );
}

function suggestionsOf(preset: Preset, method: unknown): readonly Suggestion[] {
  switch (preset) {
    case "lora":
    case "qlora":
      return adapterDefaults(preset);
    case "full":
      return FULL;
    case "small-data":
      return smallData(method);
    default:
      return preset satisfies never;
  }
}

function at(value: unknown, key: KeyPath): unknown {
  let found = value;
  for (const part of key) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, part)) return undefined;
    found = (found as Record<string | number, unknown>)[part];
  }
  return found;
}

/** A copy with `value` at the key; what stands in the way and is no map is left for the schema to refuse. */
function withDefault(root: unknown, [part, ...rest]: KeyPath, value: unknown): unknown {
  if (part === undefined) return value;
  if (root !== null && root !== undefined && (typeof root !== "object" || Array.isArray(root))) return root;
  const map = (root ?? {}) as Record<string, unknown>;
  return { ...map, [part]: withDefault(map[part], rest, value) };
}
