// Training on the goldens: adapters that PEFT saved, rows as it saw them, and the loop of @tunesmith/sft around them.
import { readPeft } from "@tunesmith/lora";
import { linearPaths } from "@tunesmith/models";
import type { Model } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import { adamw } from "@tunesmith/optim";
import { train, tuneLora } from "@tunesmith/sft";
import type { StepEvent, Tuning } from "@tunesmith/sft";
import { flatBatch, goldenPath } from "./goldens.ts";
import type { Golden } from "./goldens.ts";

const OPTIMIZER = { betas: [0.9, 0.999] as const, eps: 1e-8, weightDecay: 0.01 };

/** The adapter of a golden folder, ready to train. */
export async function tuning(
  model: Model,
  ...folder: string[]
): Promise<Tuning & { adapter: NonNullable<Tuning["adapter"]> }> {
  const from = await readPeft(nodeFiles(), goldenPath("lora", ...folder), linearPaths(model.config));
  return tuneLora(model, from.config, { seed: 0, from });
}

/** Rows of a golden as examples of the trainer, each of the task that the golden names it by, if any. */
function examples(golden: ReadonlyMap<string, Golden>): {
  inputIds: Int32Array;
  targets: Int32Array;
  targetWeights: Float32Array;
  segmentIds: Int32Array;
  task: string;
  row: number;
}[] {
  const rows = golden.get("input_ids")!.shape[0]!;
  return Array.from({ length: rows }, (_, row) => {
    const { inputIds, targets, segmentIds } = flatBatch(golden, { from: row, to: row + 1 });
    return {
      inputIds,
      targets,
      targetWeights: Float32Array.from(targets, (t) => (t === -100 ? 0 : 1)),
      segmentIds: segmentIds.map((s) => Math.min(s, 0)),
      task: String(golden.get("task_id")?.values[row] ?? "golden"),
      row,
    };
  });
}

/** A run over given windows of rows; its steps. */
export async function runSteps(
  tuned: Tuning,
  golden: ReadonlyMap<string, Golden>,
  options: {
    totalSteps: number;
    window: (step: number) => number[][];
    lr: (step: number) => number;
    clip: number | undefined;
    packing: boolean;
    /** of each task; then losses are means per task */
    lambdas?: readonly number[];
  },
): Promise<StepEvent[]> {
  const events: StepEvent[] = [];
  const run = train(tuned, {
    examples: examples(golden),
    tasks: options.lambdas?.map((lossWeight, k) => ({ name: String(k), lossWeight })) ?? [
      { name: "golden", lossWeight: 1 },
    ],
    schedule: {
      totalSteps: options.totalSteps,
      stepsPerEpoch: options.totalSteps,
      window: options.window,
      epochAt: () => 0,
    },
    packing: options.packing,
    objective: options.lambdas ? "task_mean" : "token_mean",
    optimizer: adamw({ ...OPTIMIZER, maxGradNorm: options.clip }),
    learningRate: options.lr,
    now: () => performance.now(),
  });
  for await (const event of run) if (event.type === "step") events.push(event);
  return events;
}
