// LoRA on GSM8K: 200 steps of eight rows, those that fit into the model's 512 positions (about seven in eight).
import { join } from "node:path";

/** @import { Tools } from "./run.mjs" */

/** @param {Tools} tools @param {number} seed */
export function gsm8k({ fixtures }, seed) {
  const entry = {
    name: "gsm8k",
    map: { prompt: "Question: {{question}}\nAnswer: ", completion: "{{answer}}" },
    overlong: "drop",
  };
  return {
    model: join(fixtures, "models", "stories260K"),
    seed,
    data: {
      train: [{ ...entry, path: join(fixtures, "data", "gsm8k", "train.jsonl"), max_rows: 2100 }],
      eval: [{ ...entry, path: join(fixtures, "data", "gsm8k", "test.jsonl"), max_rows: 128 }],
    },
    tune: { method: "lora", r: 16, alpha: 32 },
    train: { max_steps: 200, batch_size: 8, learning_rate: 2e-3 },
    eval: { every: 10_000 },
    gates: { max_lost: 0.5 },
  };
}
