// `train --self-check`: the first step of the run, computed in ways that must agree.

import { requireSelfCheck, type SelfCheck, selfCheck, selfCheckText } from "@tunesmith/sft";
import type { ResolvedConfig } from "./config/load.ts";
import type { Context } from "./context.ts";
import { lossTermsOf } from "./loss-terms.ts";
import { optimizerOf } from "./optimizer.ts";
import type { PreparedRun } from "./run-prepare.ts";

/**
 * Says what came of each check.
 * @throws SftError `SELF_CHECK` if one failed
 */
export async function checkItself(
  config: ResolvedConfig,
  { data, tuning, choice, plan }: Pick<PreparedRun, "data" | "tuning" | "choice" | "plan">,
  { say }: Context,
): Promise<readonly SelfCheck[]> {
  const { train: examples, tasks, schedule, objective } = data;
  const shared = choice.plan.slots.reduce((a, b) => a + b, 0);
  const checks = await selfCheck(tuning, {
    examples,
    tasks: tasks.map(({ name, lossWeight = 1 }) => ({ name, lossWeight })),
    schedule,
    packing: config.data.packing !== false,
    objective,
    optimizer: optimizerOf(config),
    memory: choice,
    terms: lossTermsOf(config),
    room: plan.memory_budget === null ? shared : plan.memory_budget - plan.peak_bytes + shared,
  });
  for (const check of checks) say(`self-check: ${selfCheckText(check)}`);
  requireSelfCheck(checks);
  return checks;
}
