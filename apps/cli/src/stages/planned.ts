// Stages before any of them has run: what can be read, planned and shown of each.

import type { Files } from "@tunesmith/core";
import type { ConfiguredRun } from "../config/stages.ts";
import type { Context, Outcome } from "../context.ts";
import { withAddedTokens } from "../grown-base.ts";

/**
 * The runs with what their start will be like: the base of the first one, which has the same shapes, and the adapter that is
 * trained on. What is no stage comes back with its new tokens alone.
 */
export async function planned(
  runs: readonly ConfiguredRun[],
  files: Files,
  context: Context,
): Promise<readonly ConfiguredRun[]> {
  const ready: ConfiguredRun[] = [];
  for (const run of runs) {
    const before = ready.at(-1);
    if (!before) {
      ready.push(await withAddedTokens(run, files, context));
      continue;
    }
    const goesOn = run.stage!.adapter === "continue" && before.config.tune.init_from !== null;
    const tune = goesOn ? { ...run.config.tune, init_from: before.config.tune.init_from } : run.config.tune;
    const config = { ...run.config, model: before.config.model, tune };
    ready.push(await withAddedTokens({ ...run, config }, files, context));
  }
  return ready;
}

/** What a command says of a config: of the run that it is, or of each of its stages. */
export async function perStage(
  runs: readonly ConfiguredRun[],
  work: (run: ConfiguredRun) => Promise<Outcome>,
): Promise<Outcome> {
  if (runs[0]?.stage === undefined) return work(runs[0]!);
  const documents: object[] = [];
  const texts: string[] = [];
  for (const run of runs) {
    const { document, text } = await work(run);
    documents.push({ name: run.stage!.name, ...(document as object) });
    texts.push(`stage ${run.stage!.name}\n${text}`);
  }
  return { document: { stages: documents }, text: texts.join("\n\n") };
}
