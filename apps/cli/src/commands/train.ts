import { nodeFiles } from "@tunesmith/node";
import { loadConfig } from "../config/load.ts";
import type { Context, Outcome } from "../context.ts";
import type { Options } from "../flags.ts";
import { withAddedTokens } from "../grown-base.ts";
import { trainRun } from "../train-run.ts";

export async function run(
  [path]: readonly string[],
  options: Options<"set" | "memory-budget" | "resume" | "overwrite" | "profile">,
  context: Context,
): Promise<Outcome> {
  const written = await loadConfig(path!, { cwd: context.cwd, sets: setsOf(options) });
  const loaded = await withAddedTokens(written, nodeFiles(), context);
  const document = await trainRun(loaded, {
    overwrite: options.overwrite,
    resume: options.resume,
    profile: options.profile,
    context,
  });
  const { steps, seconds, loss } = document;
  const tuned = document.model === null ? `adapter: ${document.adapter}` : `model: ${document.model}`;
  const last = loss === undefined ? "" : `, last loss ${loss.toFixed(4)}`;
  return { document, text: `trained ${steps} steps in ${seconds.toFixed(1)} s${last}; ${tuned}` };
}

/** `--set` with what other flags stand for. */
export function setsOf({ set, memoryBudget }: Options<"set" | "memory-budget">): readonly string[] {
  return memoryBudget === undefined ? set : [...set, `train.memory_budget=${memoryBudget}`];
}
