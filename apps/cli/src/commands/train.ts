import { nodeFiles } from "@tunesmith/node";
import { loadRuns } from "../config/stages.ts";
import type { Context, Outcome } from "../context.ts";
import type { Options } from "../flags.ts";
import { withBase } from "../computed-start.ts";
import { trainStages } from "../stages/train-stages.ts";
import { trainRun } from "../train-run.ts";

export async function run(
  [path]: readonly string[],
  options: Options<"set" | "memory-budget" | "resume" | "overwrite" | "profile" | "self-check">,
  context: Context,
): Promise<Outcome> {
  const runs = await loadRuns(path!, { cwd: context.cwd, sets: setsOf(options) });
  const { overwrite, resume, profile, selfCheck } = options;
  const request = { overwrite, resume, profile, selfCheck, context };
  const document = runs[0].stage
    ? await trainStages(runs, request)
    : await trainRun(await withBase(runs[0], nodeFiles(), context), request);
  const { steps, seconds, loss } = document;
  const tuned = document.model === null ? `adapter: ${document.adapter}` : `model: ${document.model}`;
  const last = loss === undefined ? "" : `, last loss ${loss.toFixed(4)}`;
  return { document, text: `trained ${steps} steps in ${seconds.toFixed(1)} s${last}; ${tuned}` };
}

/** `--set` with what other flags stand for. */
export function setsOf({ set, memoryBudget }: Options<"set" | "memory-budget">): readonly string[] {
  return memoryBudget === undefined ? set : [...set, `train.memory_budget=${memoryBudget}`];
}
