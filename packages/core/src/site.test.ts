import { describe, expect, test } from "vitest";
import { hash32, siteId } from "./index.ts";

/** FNV-1a over UTF-16 units and MurmurHash3's finalizer, in integers of any size. */
function reference(text: string): number {
  const mask = 0xffffffffn;
  let h = 0x811c9dc5n;
  for (let i = 0; i < text.length; i++) h = ((h ^ BigInt(text.charCodeAt(i))) * 0x01000193n) & mask;
  h = ((h ^ (h >> 16n)) * 0x85ebca6bn) & mask;
  h = ((h ^ (h >> 13n)) * 0xc2b2ae35n) & mask;
  return Number(h ^ (h >> 16n));
}

describe("hash32", () => {
  test.each(["", "a", "b", "ab", "ba", "model.layers.0.self_attn.q_proj", "é", "模型", "a😀b", "\0", "\0\0"])(
    "of %j",
    (text) => {
      expect(hash32(text)).toBe(reference(text));
    },
  );

  test("is pinned for ever: seeds, checkpoints and resumed runs depend on it", () => {
    expect(["", "a", "model.layers.0.self_attn.q_proj#dropout"].map(hash32)).toEqual([
      2872998923, 444641715, 2153246908,
    ]);
  });

  test("flipping one bit of one letter changes about half of the 32 bits", () => {
    let changed = 0;
    for (let bit = 0; bit < 7; bit++) {
      for (let i = 0; i < 100; i++) {
        let difference = hash32(`x${i}a`) ^ hash32(`x${i}${String.fromCharCode(0x61 ^ (1 << bit))}`);
        for (; difference !== 0; difference &= difference - 1) changed++;
      }
    }
    expect(Math.abs(changed / 700 - 16)).toBeLessThan(0.5);
  });
});

describe("siteId", () => {
  test("path and role both count, and their border too", () => {
    expect(siteId("a", "b")).toBe(hash32("a#b"));
    expect(new Set([siteId("a", "b"), siteId("b", "a"), siteId("ab", ""), siteId("", "ab")]).size).toBe(4);
  });

  test("no two sites of a large model share a word", () => {
    const roles = ["dropout", "init"];
    const modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
    const ids = new Set<number>();
    for (let layer = 0; layer < 128; layer++) {
      for (const module of modules) for (const role of roles) ids.add(siteId(`model.layers.${layer}.${module}`, role));
    }
    expect(ids.size).toBe(128 * 7 * 2);
  });
});
