import { describe, expect, test } from "vitest";
import { type LoraConfig, moduleRank } from "./config.ts";
import { resolveTargets } from "./targets.ts";

const paths = [
  "model.layers.0.self_attn.q_proj",
  "model.layers.0.self_attn.v_proj",
  "model.layers.0.mlp.up_proj",
  "model.layers.10.self_attn.q_proj",
];

describe("resolveTargets", () => {
  test("all-linear, suffixes at a dot, exact paths, whole-match regular expressions", () => {
    expect(resolveTargets({ targetModules: "all-linear" }, paths)).toEqual(paths);
    expect(resolveTargets({ targetModules: ["v_proj", "q_proj"] }, paths)).toEqual([paths[0], paths[1], paths[3]]);
    expect(resolveTargets({ targetModules: ["mlp.up_proj"] }, paths)).toEqual([paths[2]]);
    expect(resolveTargets({ targetModules: [paths[3]!] }, paths)).toEqual([paths[3]]);
    expect(resolveTargets({ targetModules: String.raw`model\.layers\.0\..*_proj` }, paths)).toEqual(paths.slice(0, 3));
  });

  test.each([[["proj"]], [["q_prj"]], ["q_proj"], ["("], [["q_proj", "gate"]]])("%j matches nothing", (targets) => {
    expect(() => resolveTargets({ targetModules: targets }, paths)).toThrow(
      expect.objectContaining({ code: "TARGET_UNMATCHED" }),
    );
  });

  test("exclusions and layers narrow the choice, as in PEFT", () => {
    const all = { targetModules: "all-linear" };
    expect(resolveTargets({ ...all, excludeModules: ["v_proj"] }, paths)).toEqual([paths[0], paths[2], paths[3]]);
    expect(resolveTargets({ ...all, excludeModules: ".*mlp.*" }, paths)).toEqual([paths[0], paths[1], paths[3]]);
    expect(resolveTargets({ ...all, layersToTransform: [10] }, paths)).toEqual([paths[3]]);
    expect(resolveTargets({ ...all, layersToTransform: [0, 10], layersPattern: ["layers"] }, paths)).toEqual(paths);
    const experts = ["model.layers.1.experts.0.up_proj", "model.layers.0.experts.1.up_proj"];
    expect(resolveTargets({ targetModules: ["up_proj"], layersToTransform: [1] }, experts)).toEqual([experts[0]]);
  });
  test("an exclusion may concern layers that are no target, and in a saved adapter none at all", () => {
    const names = { targetModules: ["q_proj"], excludeModules: ["v_proj"] };
    expect(resolveTargets(names, paths)).toEqual([paths[0], paths[3]]);
    const saved = { ...names, excludeModules: ["o_proj"] };
    expect(resolveTargets(saved, paths, { idleExclusions: true })).toEqual([paths[0], paths[3]]);
  });
  test.each<[string, Partial<LoraConfig>]>([
    ["an exclusion of nothing", { excludeModules: ["o_proj"] }],
    ["everything excluded", { excludeModules: ".*" }],
    ["a layer that is not there", { layersToTransform: [5] }],
    ["a layers' name that is not there", { layersToTransform: [0], layersPattern: ["h"] }],
    ["layers beside a regular expression", { targetModules: ".*q_proj", layersToTransform: [0] }],
    ["a rank for nothing", { rankPattern: { o_proj: 4 } }],
    ["an alpha for nothing", { alphaPattern: { "layers.5.*": 4 } }],
    ["a pattern that is none", { rankPattern: { "(": 4 } }],
  ])("%s is refused", (_, extra) => {
    expect(() => resolveTargets({ targetModules: "all-linear", ...extra }, paths)).toThrow(
      expect.objectContaining({ code: "TARGET_UNMATCHED" }),
    );
  });
  test("patterns: the first key wins that matches the end of a path from a dot on", () => {
    const config = {
      r: 8,
      alpha: 16,
      useRslora: false,
      targetModules: "all-linear",
      rankPattern: { "layers.0.self_attn.q_proj": 2, q_proj: 4, "mlp.*": 1 },
      alphaPattern: { q_proj: 32 },
    };
    expect(paths.map((path) => moduleRank(config, path))).toEqual([
      { r: 2, scale: 16 },
      { r: 8, scale: 2 },
      { r: 1, scale: 16 },
      { r: 4, scale: 8 },
    ]);
    expect(moduleRank({ ...config, rankPattern: { roj: 2 } }, paths[0]!).r).toBe(8); // not from a dot on
  });
  test("a misspelt name gets the nearest one", () => {
    expect(() => resolveTargets({ targetModules: ["q_prj"] }, paths)).toThrow(
      expect.objectContaining({ details: expect.objectContaining({ fix: "did you mean q_proj?" }) }),
    );
  });
});
