import { readFileSync } from "node:fs";
import { learningRate } from "@tunesmith/optim";
import { describe, expect, test } from "vitest";
import { folderWith } from "../../../tests/support/cli.ts";
import { loadConfig } from "./config/load.ts";
import { scheduleOf } from "./rate.ts";

const { base_lr: lr, tables } = JSON.parse(
  readFileSync(new URL("../../../fixtures/goldens/optim/schedules.json", import.meta.url), "utf8"),
) as { base_lr: number; tables: Record<string, { lr: number[] }> };

/** The config of a schedule as a person writes it, and transformers' table of it. */
const CASES: readonly (readonly [table: string, train: string])[] = [
  ["cosine_with_min_lr_rate", "schedule: cosine-with-min, min_lr_ratio: 0.1, warmup_steps: 5"],
  ["cosine_with_restarts_3", "schedule: cosine-restarts, lr_cycles: 3, warmup_steps: 5"],
  ["wsd_cosine", "schedule: wsd, lr_decay: cosine, lr_decay_ratio: 0.25, warmup_steps: 5"],
  ["wsd_linear_min10", "schedule: wsd, lr_decay_ratio: 0.25, min_lr_ratio: 0.1, warmup_steps: 5"],
  ["wsd_1-sqrt", "schedule: wsd, lr_decay: 1-sqrt, lr_decay_ratio: 0.25, warmup_steps: 5"],
  ["polynomial_power2", "schedule: polynomial, lr_power: 2, min_lr_ratio: 1.0e-4, warmup_steps: 5"],
  ["linear", "schedule: linear, warmup_ratio: 0.125"],
  ["cosine_no_warmup", "schedule: cosine, warmup_steps: 0"],
];

describe("the rate of a config", () => {
  test.each(CASES)("%s: transformers' table", async (table, train) => {
    const cwd = folderWith({
      "run.yaml": `model: m\noutput: o\ndata: {train: [{path: a.jsonl}]}\ntrain: {learning_rate: ${lr}, ${train}}\n`,
    });
    const { config } = await loadConfig("run.yaml", { cwd, sets: [] });
    const schedule = scheduleOf(config, 40);
    for (const [step, expected] of tables[table]!.lr.slice(0, 40).entries())
      expect(Math.abs(learningRate(schedule, step) - expected)).toBeLessThanOrEqual(1e-12 * lr);
  });
});
