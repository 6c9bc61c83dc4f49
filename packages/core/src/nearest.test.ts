import { describe, expect, test } from "vitest";
import { nearest } from "./index.ts";

describe("nearest", () => {
  test.each([
    ["a replaced letter", "learning_rate", "lesrning_rate"],
    ["a missing letter", "learning_rate", "learnin_rate"],
    ["a letter too many", "learning_rate", "learningg_rate"],
    ["two neighbours swapped", "learning_rate", "leanring_rate"],
    ["other case", "learning_rate", "LEARNING_RATE"],
  ])("finds %s", (_, right, wrong) => {
    expect(nearest(wrong, ["weight_decay", right, "warmup_steps"])).toBe(right);
  });

  test("a swap of neighbours is one edit, so it beats two replacements", () => {
    expect(nearest("abcd", ["abxy", "abdc"])).toBe("abdc");
    expect(nearest("ab", ["xy", "ba"])).toBe("ba");
  });

  test("the closest wins wherever it stands, the first among equals", () => {
    expect(nearest("q_proj", ["k_projs", "q_pro", "qq_proj"])).toBe("q_pro");
    expect(nearest("q_proj", ["v_proj", "k_proj"])).toBe("v_proj");
    expect(nearest("k_proj", ["v_proj", "k_proj"])).toBe("k_proj");
  });

  test("a third of the letters may differ, and two always", () => {
    expect(nearest("abcdef", ["abcdxy"])).toBe("abcdxy");
    expect(nearest("abcdef", ["abcxyz"])).toBeUndefined();
    expect(nearest("abcdefghi", ["abcdefxyz"])).toBe("abcdefxyz");
    expect(nearest("abcdefghi", ["abcdewxyz"])).toBeUndefined();
    expect(nearest("a", ["xyz"])).toBeUndefined();
  });

  test("nothing to choose from, and empty names", () => {
    expect(nearest("x", [])).toBeUndefined();
    expect(nearest("", ["ab"])).toBe("ab");
    expect(nearest("", ["abc"])).toBeUndefined();
  });

  test("a candidate of a million letters costs nothing", () => {
    const before = performance.now();
    expect(nearest("model.layers.0.self_attn.q_proj", ["x".repeat(1e6), "model.layers.0.self_attn.q_pro"])).toContain(
      "q_pro",
    );
    expect(performance.now() - before).toBeLessThan(1000);
  });
});
