// How full bins get on real lengths: GSM8K under two tokenizers. The files are not part of the repository; where they are
// absent this is skipped with a reason.
import { createSchedule, type Schedule } from "@tunesmith/data";
import { loadTokenizer, nodeFiles } from "@tunesmith/node";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const shared = fileURLToPath(new URL("../../shared/fixtures/", import.meta.url));
const MAX_LENGTH = 1024;

describe.skipIf(!existsSync(join(shared, "data", "gsm8k")))("bins on GSM8K (needs ../shared/fixtures)", () => {
  test.each(["tokenizers/qwen2.5", "models/stories260K"])(
    "%s: at least 97 percent full at 1,024 tokens",
    async (folder) => {
      const tokenizer = await loadTokenizer(nodeFiles(), join(shared, folder));
      const lines = readFileSync(join(shared, "data/gsm8k/train.jsonl"), "utf8").trimEnd().split("\n");
      const lengths: number[] = [];
      for (const line of lines) {
        const { question, answer } = JSON.parse(line) as { question: string; answer: string };
        lengths.push((await tokenizer.encode(`${question}\n${answer}`, { addSpecialTokens: false })).ids.length);
      }
      const fitting = lengths.filter((length) => length <= MAX_LENGTH);
      expect(fitting.length / lengths.length).toBeGreaterThan(0.99);
      const schedule: Schedule = createSchedule({
        tasks: [{ name: "gsm8k" }],
        exampleTasks: new Int32Array(fitting.length),
        seed: 1,
        batchSize: 1,
        gradAccumulation: 1,
        epochs: 1,
        shuffle: true,
        bins: { lengths: fitting, maxLength: MAX_LENGTH },
      });
      const tokens = fitting.reduce((a, b) => a + b, 0);
      const fill = tokens / (schedule.totalSteps * MAX_LENGTH);
      console.log(`${folder}: ${schedule.totalSteps} bins, ${(100 * fill).toFixed(2)} % full`);
      expect(fill).toBeGreaterThanOrEqual(0.97);
    },
  );
});
