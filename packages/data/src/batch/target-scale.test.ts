import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type Example, IGNORED } from "../tokenize/example.ts";
import { tokenizeRow, type TokenizeOptions } from "../tokenize/tokenize-row.ts";
import { makeBatch } from "./batch.ts";
import { targetScale, taskCounts } from "./target-scale.ts";

const folder = new URL("../../../../fixtures/goldens/multitask/", import.meta.url);

/** The tensors of a small safetensors file as plain numbers. */
function tensors(name: string): Record<string, { shape: number[]; data: Float32Array | Int32Array }> {
  const bytes = readFileSync(new URL(name, folder));
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  return Object.fromEntries(
    Object.entries(header)
      .filter(([key]) => key !== "__metadata__")
      .map(([key, { dtype, shape, data_offsets }]) => {
        const data = bytes.buffer.slice(
          bytes.byteOffset + 8 + length + data_offsets[0],
          bytes.byteOffset + 8 + length + data_offsets[1],
        );
        return [key, { shape, data: dtype === "F32" ? new Float32Array(data) : new Int32Array(data) }];
      }),
  );
}

/** −log softmax(logits)[target] in float64. */
function crossEntropy(logits: Float32Array, target: number): number {
  const max = Math.max(...logits);
  return max + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - max), 0)) - logits[target]!;
}

describe("against transformers: seven padded rows of three tasks", async () => {
  const names = ["0", "1", "2"];
  const golden = JSON.parse(readFileSync(new URL("golden.json", folder), "utf8")) as {
    lambdas: number[];
    full: {
      loss_float64: number;
      task_losses_float64: number[];
      task_label_tokens: number[];
      flat_token_mean_for_contrast: number;
    };
  };
  const { input_ids, labels, attention_mask, task_id, logits } = tensors("batch_full.safetensors") as Record<
    string,
    { shape: number[]; data: Float32Array | Int32Array }
  >;
  const [rows, length] = input_ids!.shape as [number, number];
  const vocab = logits!.shape[2]!;
  const options = {
    vocabSize: vocab,
    maxLength: length,
    overlong: "error",
    tokenizer: { special: {} },
  } as unknown as TokenizeOptions;
  const examples: Example[] = [];
  for (let r = 0; r < rows; r++) {
    const part = (of: { data: Float32Array | Int32Array }): Int32Array =>
      Int32Array.from(of.data.subarray(r * length, (r + 1) * length));
    const row = {
      kind: "tokens",
      inputIds: part(input_ids!),
      labels: part(labels!),
      attentionMask: part(attention_mask!),
    } as const;
    const { pieces } = await tokenizeRow(row, { path: "golden", line: r + 1 }, options);
    examples.push({ ...pieces[0]!, task: String(task_id!.data[r]), row: r });
  }

  // one micro-batch; several; one row each; a partial last one
  test.each([[[7]], [[3, 4]], [[1, 1, 1, 1, 1, 1, 1]], [[4, 2, 1]]])("micro-batches of %j rows", (sizes) => {
    let from = 0;
    const parts = sizes.map((size) => examples.slice(from, (from += size)));
    const window = parts.map((part) => makeBatch(part, { packing: true, tasks: names }));
    expect([...taskCounts(window).targets]).toEqual(golden.full.task_label_tokens);
    const weighted = (scales: Float32Array[], only?: number): number => {
      let sum = 0;
      let row = 0;
      parts.forEach((part, m) => {
        let at = 0;
        for (const example of part) {
          for (let t = 0; t < length; t++, at++) {
            const scale = scales[m]![at]!;
            expect(scale === 0).toBe(example.targets[t] === IGNORED);
            if (scale === 0 || (only !== undefined && example.task !== names[only])) continue;
            const start = (row * length + t) * vocab;
            sum +=
              scale * crossEntropy((logits!.data as Float32Array).subarray(start, start + vocab), example.targets[t]!);
          }
          row++;
        }
      });
      return sum;
    };
    // the scales are f32: seven digits of each target's share
    const scales = targetScale(window, "task_mean", golden.lambdas);
    expect(weighted(scales)).toBeCloseTo(golden.full.loss_float64, 5);
    golden.full.task_losses_float64.forEach((loss, k) =>
      expect(weighted(scales, k)).toBeCloseTo(golden.lambdas[k]! * loss, 5),
    );
    expect(weighted(targetScale(window, "token_mean", golden.lambdas))).toBeCloseTo(
      golden.full.flat_token_mean_for_contrast,
      5,
    );
  });
});

describe("targetScale", () => {
  const example = (task: string, targets: number[], weights: number[]): Example => ({
    inputIds: new Int32Array(targets.length),
    targets: Int32Array.from(targets),
    targetWeights: Float32Array.from(weights),
    task,
    row: 0,
  });
  const tasks = ["a", "b", "absent"];
  const window = [
    makeBatch([example("a", [1, 2, -100], [1, 0.5, 0])], { packing: false, tasks }),
    makeBatch([example("b", [3, -100], [2, 0]), example("a", [4, -100, -100], [1, 0, 0])], { packing: false, tasks }),
  ];
  test("task_mean: w·λ_k / N_k over the whole step; an absent task adds nothing and does not divide by zero", () => {
    const scales = targetScale(window, "task_mean", [0.5, 3, 7]).map((s) => [...s]);
    expect(scales).toEqual([
      [Math.fround(0.5 / 2.5), Math.fround(0.25 / 2.5), 0],
      [3, 0, 0, Math.fround(0.5 / 2.5), 0, 0],
    ]);
  });
  test("token_mean: w / N, whatever the λ", () => {
    const scales = targetScale(window, "token_mean", [9, 9, 9]).map((s) => [...s]);
    expect(scales).toEqual([
      [Math.fround(1 / 4.5), Math.fround(0.5 / 4.5), 0],
      [Math.fround(2 / 4.5), 0, 0, Math.fround(1 / 4.5), 0, 0],
    ]);
  });
  test("a step without targets is an error, not NaN", () => {
    const empty = [makeBatch([example("a", [-100], [0])], { packing: true, tasks })];
    expect(() => targetScale(empty, "token_mean", [1, 1, 1])).toThrow(expect.objectContaining({ code: "NO_TARGETS" }));
    expect(() => targetScale([], "task_mean", [])).toThrow(expect.objectContaining({ code: "NO_TARGETS" }));
  });
});
