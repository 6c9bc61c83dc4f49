import { describe, expect, test } from "vitest";
import { resolveTargets } from "./targets.ts";

const paths = [
  "model.layers.0.self_attn.q_proj",
  "model.layers.0.self_attn.v_proj",
  "model.layers.0.mlp.up_proj",
  "model.layers.10.self_attn.q_proj",
];

describe("resolveTargets", () => {
  test("all-linear, suffixes at a dot, exact paths, whole-match regular expressions", () => {
    expect(resolveTargets("all-linear", paths)).toEqual(paths);
    expect(resolveTargets(["v_proj", "q_proj"], paths)).toEqual([paths[0], paths[1], paths[3]]);
    expect(resolveTargets(["mlp.up_proj"], paths)).toEqual([paths[2]]);
    expect(resolveTargets([paths[3]!], paths)).toEqual([paths[3]]);
    expect(resolveTargets(String.raw`model\.layers\.0\..*_proj`, paths)).toEqual(paths.slice(0, 3));
  });

  test.each([[["proj"]], [["q_prj"]], ["q_proj"], ["("], [["q_proj", "gate"]]])("%j matches nothing", (targets) => {
    expect(() => resolveTargets(targets, paths)).toThrow(expect.objectContaining({ code: "TARGET_UNMATCHED" }));
  });

  test("a misspelt name gets the nearest one", () => {
    expect(() => resolveTargets(["q_prj"], paths)).toThrow(
      expect.objectContaining({ details: expect.objectContaining({ fix: "did you mean q_proj?" }) }),
    );
  });
});
