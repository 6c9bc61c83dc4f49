import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { nodeFiles } from "@tunesmith/node";
import { openModel, toF32 } from "@tunesmith/safetensors";
import { describe, expect, test } from "vitest";
import { checkModel } from "./checkpoint.ts";
import { writeGrownModel } from "./grow.ts";

const files = nodeFiles();
const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../fixtures/goldens/models/${name}`, import.meta.url));

/** Grows a golden model and reads both. */
async function grown(name: string, change: { tokens: number; added: number }) {
  const folder = fixture(name);
  const { vocab_size } = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as { vocab_size: number };
  const growth = { tokens: vocab_size + change.tokens, added: change.added };
  const out = mkdtempSync(join(tmpdir(), "tunesmith-grow-"));
  const vocabSize = await writeGrownModel(files, folder, out, growth);
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as Record<string, unknown>;
  writeFileSync(join(out, "config.json"), JSON.stringify({ ...config, vocab_size: vocabSize }));
  return {
    out,
    growth,
    beyond: vocabSize - vocab_size,
    vocabSize,
    before: await openModel(files, folder),
    after: await openModel(files, out),
  };
}

/** relative rounding of one value */
const HALF_ULP: Readonly<Record<string, number>> = { F32: 0, F16: 2 ** -11, BF16: 2 ** -8 };

describe.each(["llama-untied", "qwen2-fp16", "llama-bf16"])("%s", (name) => {
  test.each([
    ["new rows behind the last", { tokens: 0, added: 3 }, 3],
    ["spare rows", { tokens: -10, added: 4 }, 0],
    ["spare rows and new ones", { tokens: -1, added: 3 }, 2],
    ["one row", { tokens: 0, added: 1 }, 1],
    ["tokens that the model lacked before", { tokens: 2, added: 1 }, 3],
  ])("%s are the mean of the tokens' rows; the rest is as it was", async (_, change, beyond) => {
    const made = await grown(name, change);
    const { growth, vocabSize } = made;
    expect(made.beyond).toBe(beyond);
    await checkModel(files, made.out); // loads: config and tensors agree
    let matrices = 0;
    for (const [tensor, { dtype, shape }] of made.before.tensors) {
      const [old, now] = [await made.before.read(tensor), await made.after.read(tensor)];
      if (!/embed_tokens|lm_head/.test(tensor)) {
        expect(Buffer.compare(old, now)).toBe(0);
        continue;
      }
      matrices++;
      const width = shape[1]!;
      const [a, b] = [toF32(old, dtype), toF32(now, dtype)];
      expect(made.after.tensors.get(tensor)!.shape).toEqual([vocabSize, width]);
      for (let row = 0; row < vocabSize; row++) {
        const known = Math.min(growth.tokens, vocabSize - beyond);
        const isNew = row >= known && row < growth.tokens + growth.added;
        for (let i = 0; i < width; i++) {
          let expected = a[row * width + i]!;
          if (isNew) {
            let sum = 0;
            for (let other = 0; other < known; other++) sum += a[other * width + i]!;
            expected = Math.fround(sum / known);
          }
          const off = Math.abs(b[row * width + i]! - expected);
          if (off > (isNew ? HALF_ULP[dtype]! * Math.abs(expected) + 2 ** -25 * Number(dtype === "F16") : 0))
            expect([row, i, off]).toEqual([row, i, 0]);
        }
      }
    }
    expect(matrices).toBe([...made.before.tensors.keys()].filter((key) => /embed_tokens|lm_head/.test(key)).length);
  });
  test("twice the same bytes", async () => {
    const [one, two] = [await grown(name, { tokens: -10, added: 20 }), await grown(name, { tokens: -10, added: 20 })];
    const bytes = (at: string): Buffer => readFileSync(join(at, "model.safetensors"));
    expect(Buffer.compare(bytes(one.out), bytes(two.out))).toBe(0);
  });
});

test("a folder that does not load is refused before anything is written", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tunesmith-grow-"));
  cpSync(fixture("llama-untied"), folder, { recursive: true });
  writeFileSync(join(folder, "config.json"), readFileSync(join(folder, "config.json"), "utf8").replace("300", "301"));
  const out = join(folder, "out");
  mkdirSync(out);
  await expect(writeGrownModel(files, folder, out, { tokens: 300, added: 1 })).rejects.toMatchObject({
    code: "TENSOR_MISMATCH",
  });
  expect(await files.list(out)).toEqual([]);
});
