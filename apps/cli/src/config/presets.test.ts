import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { checkConfig, resolvedConfigText } from "./load.ts";
import { applyPreset, presetLines } from "./presets.ts";
import { readConfigSource } from "./source.ts";

const BASE = "model: base\noutput: run\ndata: {train: [{path: a.jsonl}]}\n";
const load = (text: string, ...sets: string[]): ReturnType<typeof checkConfig> =>
  checkConfig(readConfigSource(BASE + text, { path: "run.yaml", sets }), "/work");

describe("presets", () => {
  test.each(["lora", "qlora"] as const)("%s: the ranges of the field for adapters", (preset) => {
    const { tune, train } = load(`preset: ${preset}\n`).config;
    expect(tune.method).toBe(preset);
    expect(train.learning_rate).toBeGreaterThanOrEqual(1e-4);
    expect(train.learning_rate).toBeLessThanOrEqual(3e-4);
    expect(train.batch_size * train.grad_accumulation).toBeGreaterThanOrEqual(4);
    expect(train.batch_size * train.grad_accumulation).toBeLessThanOrEqual(8);
    expect(train).toMatchObject({ epochs: 3, weight_decay: 0.01 });
  });

  test("full: a tenth of the rate, 8 to 16 rows per update", () => {
    const { value } = applyPreset({ preset: "full", train: { epochs: 4 } });
    expect(value).toEqual({
      preset: "full",
      tune: { method: "full" },
      train: {
        learning_rate: 2e-5,
        batch_size: 8,
        grad_accumulation: 2,
        epochs: 4,
        warmup_ratio: 0.05,
        weight_decay: 0.01,
      },
    });
    const { value: small } = applyPreset({ preset: "small-data", tune: { method: "full" } });
    expect(small).toMatchObject({ train: { learning_rate: 1e-5 } });
  });

  test("small-data: many epochs, ended by early stopping on rows held back", () => {
    const { data, train, eval: evaluation, keep } = load("preset: small-data\n").config;
    expect(train.epochs).toBeGreaterThanOrEqual(15);
    expect(train.epochs).toBeLessThanOrEqual(20);
    expect(train).toMatchObject({ batch_size: 4, learning_rate: 1e-4, weight_decay: 0.01 });
    expect(data.eval_split).toBe(0.1);
    expect(evaluation.patience).toBe(5);
    expect(keep).toBe("best");
  });

  test("small-data takes eval rows that are named instead of holding some back", () => {
    const { data } = load("preset: small-data\n", "data.eval=[{path: b.jsonl}]").config;
    expect(data.eval_split).toBeUndefined();
    expect(data.eval).toHaveLength(1);
  });

  test("what is written wins, and so does its other spelling", () => {
    const { train } = load("preset: lora\ntrain: {max_steps: 7, learning_rate: 1.0e-3, warmup_steps: 2}\n").config;
    expect(train).toMatchObject({ max_steps: 7, learning_rate: 1e-3, warmup_steps: 2, weight_decay: 0.01 });
    expect(train.epochs).toBeUndefined();
    expect(train.warmup_ratio).toBeUndefined();
  });

  test("rows per update are one choice: a written batch_size is not multiplied", () => {
    expect(load("preset: small-data\ntrain: {grad_accumulation: 2}\n").config.train).toMatchObject({
      batch_size: 8, // the key's own default
      grad_accumulation: 2,
    });
  });

  test("every choice is told with its reason, or with the key that overruled it", () => {
    const { config, choices } = load("preset: lora\ntrain: {max_steps: 7}\n");
    const lines = presetLines(config.preset, choices);
    expect(lines).toContainEqual(expect.stringMatching(/^preset lora: train\.learning_rate 0\.0002: .*1e-4 to 3e-4/));
    expect(lines).toContain("preset lora: train.epochs 3 not taken: train.max_steps is written");
    expect(lines).toHaveLength(6);
  });

  test("the resolved config holds the outcome and resolves to itself", () => {
    const { config } = load("preset: small-data\n", "train.epochs=16");
    const text = resolvedConfigText(config);
    expect(parse(text)).toMatchObject({
      preset: "small-data",
      data: { eval_split: 0.1 },
      train: { epochs: 16, learning_rate: 1e-4 },
      eval: { every: 20, patience: 5 },
    });
    const again = checkConfig(readConfigSource(text, { path: "r.yaml" }), "/elsewhere");
    const { format_version: _, ...rest } = again.config;
    expect(rest).toEqual(config);
    expect(presetLines("small-data", again.choices)).toEqual([
      "preset small-data: train.epochs 15 not taken: train.epochs is written",
    ]);
  });

  test.each([
    ["preset: lora\ntune: {method: qlora}\n", "tune.method"],
    ["preset: full\ntune: {method: lora}\n", "tune.method"],
  ])("%j is a contradiction", (text, key) => {
    expect(() => load(text)).toThrow(
      expect.objectContaining({ code: "CONFIG_CONFLICT", message: expect.stringContaining(key) }),
    );
  });

  test("a broken section is refused as without a preset", () => {
    expect(() => load("preset: lora\ntrain: 3\n")).toThrow(expect.objectContaining({ code: "CONFIG_VALUE_INVALID" }));
    expect(() => load("preset: lara\n")).toThrow(expect.objectContaining({ code: "CONFIG_VALUE_INVALID" }));
  });
});
