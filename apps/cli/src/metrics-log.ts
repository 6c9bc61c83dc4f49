import type { EvalEvent, EvalResult, StepEvent } from "@tunesmith/sft";
import type { RunFolder } from "./run-folder.ts";

/** Events as lines of metrics.jsonl. */
export function metricsLog(folder: Pick<RunFolder, "log">): {
  step(event: StepEvent): Promise<void>;
  evaluation(event: EvalEvent): Promise<void>;
} {
  return {
    step: (event) => folder.log({ ...event, type: undefined }),
    evaluation: ({ step, result }) => folder.log({ step, ...scoreLine("eval", result) }),
  };
}

/** `loss` as `eval_loss` and so on. */
export function scoreLine(prefix: "eval" | "test", { tasks, ...result }: EvalResult): object {
  return { ...Object.fromEntries(Object.entries(result).map(([key, value]) => [`${prefix}_${key}`, value])), tasks };
}
