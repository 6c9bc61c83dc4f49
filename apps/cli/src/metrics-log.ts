// Events as lines of metrics.jsonl (docs/cli.md, "Run folder"), and back.

import type { Files } from "@tunesmith/core";
import { type EvalEvent, type EvalResult, type ProbeEvent, readText, type StepEvent } from "@tunesmith/sft";
import type { RunFolder } from "./run-folder.ts";

export const METRICS_FILE = "metrics.jsonl";

/** Fields of events whose lines tell them by other names. */
const UNWRITTEN = { type: undefined, result: undefined };

export function metricsLog(folder: Pick<RunFolder, "log">): {
  step(event: StepEvent): Promise<void>;
  evaluation(event: EvalEvent): Promise<void>;
  probe(event: ProbeEvent): Promise<void>;
} {
  return {
    step: (event) => folder.log({ ...event, ...UNWRITTEN }),
    evaluation: (event) => folder.log({ ...event, ...UNWRITTEN, ...scoreLine("eval", event.result) }),
    probe: (event) => folder.log({ ...event, ...UNWRITTEN, probe: event.result }),
  };
}

/** `loss` as `eval_loss` and so on. */
export function scoreLine(prefix: "eval" | "test", { tasks, ...result }: EvalResult): object {
  return { ...Object.fromEntries(Object.entries(result).map(([key, value]) => [`${prefix}_${key}`, value])), tasks };
}

/** Lines of a run's metrics.jsonl. */
export async function readLog(files: Files, folder: string): Promise<string[]> {
  const text = await readText(files, files.join(folder, METRICS_FILE));
  return text.split("\n").filter((line) => line !== "");
}

/** What they tell of its steps, evaluations and probes, in order. */
export async function readEvents(files: Files, folder: string): Promise<(StepEvent | EvalEvent | ProbeEvent)[]> {
  return (await readLog(files, folder)).flatMap((line) => {
    const { format_version: _, ...values } = JSON.parse(line) as Record<string, unknown>;
    return eventOf(values) ?? [];
  });
}

function eventOf(line: Record<string, unknown>): StepEvent | EvalEvent | ProbeEvent | undefined {
  if ("probe" in line) {
    const { probe: result, ...rest } = line;
    return { type: "probe", result, ...rest } as unknown as ProbeEvent;
  }
  if ("eval_loss" in line) {
    const { eval_loss: loss, eval_perplexity: perplexity, eval_token_accuracy: token_accuracy, ...others } = line;
    const { eval_targets: targets, tasks, ...rest } = others;
    return {
      type: "eval",
      result: { loss, perplexity, token_accuracy, targets, tasks },
      ...rest,
    } as unknown as EvalEvent;
  }
  return "grad_norm" in line ? ({ type: "step", ...line } as unknown as StepEvent) : undefined;
}
