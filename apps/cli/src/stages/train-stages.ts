// A run of several stages: each is a training run in a folder of its own, which starts from what the one before has left.

import { join } from "node:path";
import { type NodeFiles, nodeFiles } from "@tunesmith/node";
import { checkpointName, newestCheckpoint, SftError } from "@tunesmith/sft";
import { parseDocument } from "yaml";
import { baseCodec } from "../base-weights.ts";
import { resolvedConfigText } from "../config/load.ts";
import { type ConfiguredRun, SECTIONS } from "../config/stages.ts";
import { openGpu } from "../device.ts";
import { withAddedTokens } from "../grown-base.ts";
import { loadRunData } from "../run-data.ts";
import type { TrainDocument } from "../run-finish.ts";
import { checkOutput } from "../run-folder.ts";
import { planTheRun } from "../run-plan.ts";
import type { RunRequest } from "../run-prepare.ts";
import { requireFolder } from "../tuned-model.ts";
import { trainRun } from "../train-run.ts";
import { untilSignal } from "../until-signal.ts";
import { type Start, takeOver } from "./hand-over.ts";
import { planned } from "./planned.ts";
import { type FinishedStage, readStages, settingsOf, writeStages } from "./stage-log.ts";

/** What `train --json` prints: the last stage that ran, and all that ran. */
export interface StagesDocument extends TrainDocument {
  readonly stages: readonly (TrainDocument & { readonly name: string })[];
}

type Stages = readonly [ConfiguredRun, ...ConfiguredRun[]];

/**
 * Trains the stages that are not through yet. A signal ends the stage that it finds, as it ends a run.
 * @throws for anything that is wrong with any stage's data, model or memory before the first one begins
 */
export async function trainStages(stages: Stages, request: RunRequest): Promise<StagesDocument> {
  const { context, resume = false, overwrite } = request;
  const files = request.files ?? nodeFiles();
  const { output } = stages[0].stage!;
  await requireFolder(files, stages[0].config.model, "config.json", "model folder");
  await checkOutput(files, output, { overwrite, resume });
  const finished = resume ? [...(await readStages(files, output))] : [];
  await checkFinished(finished, stages);
  if (finished.length === stages.length) finished.pop(); // as a run that is through: its last step is taken up again
  let device = request.device ?? (await openGpu(context));
  const checkAll = async (): Promise<void> => {
    for (const run of await planned(stages.slice(finished.length), files, context)) {
      const data = await loadRunData(run, { files, now: new Date() });
      await planTheRun(run, data, { files, device, codec: await baseCodec(files, run) });
    }
  };
  await untilSignal(checkAll(), context.signal);
  if (!resume) for (const name of await files.list(output).catch(() => [])) await files.remove(join(output, name));
  await files.writeAtomic(join(output, "config.resolved.yaml"), [new TextEncoder().encode(resolvedText(stages))]);

  const documents: StagesDocument["stages"][number][] = [];
  for (const written of stages.slice(finished.length)) {
    const { stage } = written;
    context.say(`stage ${stage!.index + 1} of ${stages.length}: ${stage!.name}`);
    const before = finished.at(-1);
    const given = before ? await takeOver(files, written, before, context) : { run: written, start: undefined };
    const run = await withAddedTokens(given.run, files, context);
    const document = await trainRun(run, {
      ...request,
      files,
      device,
      ...(await howToBegin(files, run, { resume, isFirst: before === undefined })),
      start: given.start,
      seal: true,
      // the stages to come run on the device that stood in for a lost one
      reopen: async (of) => (device = await (request.reopen ?? openGpu)(of)),
    });
    device.workspace.release();
    device.trim();
    documents.push({ name: stage!.name, ...document });
    if (document.stopped === "signal") break;
    finished.push(await finishedStage({ ...written, config: run.config }, document, given.start, written));
    await writeStages(files, output, finished);
    await writePointers(files, output, finished.at(-1)!, document);
  }
  const last = documents.at(-1)!; // at least one stage was left
  return { ...last, output, stages: documents };
}

/** A stage goes on from its checkpoint; without one it begins again, but for a first stage that had begun. */
async function howToBegin(
  files: NodeFiles,
  { config }: ConfiguredRun,
  { resume, isFirst }: { resume: boolean; isFirst: boolean },
): Promise<{ resume: boolean; overwrite: boolean }> {
  if (!resume) return { resume: false, overwrite: false };
  const found = await newestCheckpoint(files, join(config.output, "checkpoints"), () => {});
  const goesOn = found !== undefined || (isFirst && (await files.exists(config.output)));
  return { resume: goesOn, overwrite: !goesOn };
}

async function finishedStage(
  { config, stage }: ConfiguredRun,
  document: TrainDocument,
  start: Start | undefined,
  written: ConfiguredRun,
): Promise<FinishedStage> {
  const { name } = stage!;
  const at = (step: number): string => `${name}/checkpoints/${checkpointName(step)}`;
  return {
    name,
    method: config.tune.method,
    model: config.model,
    kind: document.model === null ? "adapter" : "model",
    last: at(document.steps),
    state: at(document.kept_step),
    steps: document.steps,
    updates: (start?.updates ?? 0) + document.steps,
    settings: await settingsOf(written.config),
  };
}

/** @throws SftError `CHECKPOINT_CHANGED` for a stage that is through and would be another one now */
async function checkFinished(finished: readonly FinishedStage[], stages: Stages): Promise<void> {
  for (const [i, { name, settings }] of finished.entries()) {
    const run = stages[i];
    const same = run?.stage!.name === name && (await settingsOf(run.config)) === settings;
    if (!same)
      throw new SftError("CHECKPOINT_CHANGED", `stage ${name} is through, and its settings have changed`, {
        path: stages[0].stage!.output,
        received: run?.stage!.name ?? "no such stage",
        fix: "put the config back, or start anew with --overwrite",
      });
  }
}

/** `best.json` and `last.json` of the whole run point into the newest stage that is through. */
async function writePointers(
  files: NodeFiles,
  output: string,
  { name }: FinishedStage,
  document: TrainDocument,
): Promise<void> {
  const write = (file: string, value: object): Promise<void> =>
    files.writeAtomic(join(output, file), [
      new TextEncoder().encode(`${JSON.stringify({ format_version: 1, ...value }, null, 2)}\n`),
    ]);
  await write("last.json", { step: document.steps, path: name });
  const { best } = document;
  if (best) await write("best.json", { ...best, path: `${name}/checkpoints/${checkpointName(best.step)}` });
  else await files.remove(join(output, "best.json"));
}

/** A config file that repeats the run: what is the same for all stages at the top, the rest with each of them. */
function resolvedText(stages: Stages): string {
  const document = parseDocument(resolvedConfigText({ ...stages[0].config, output: stages[0].stage!.output }));
  const list = stages.map(({ config, stage }) => {
    const own = parseDocument(resolvedConfigText(config)).toJS() as Record<string, unknown>;
    const { name, adapter, optimizerState } = stage!;
    const handOver =
      stage!.index === 0 ? {} : { ...(adapter === "none" ? {} : { adapter }), optimizer_state: optimizerState };
    return {
      name,
      ...handOver,
      ...Object.fromEntries(SECTIONS.flatMap((key) => (key in own ? [[key, own[key]]] : []))),
    };
  });
  for (const key of SECTIONS) document.delete(key);
  document.set("stages", list);
  return document.toString();
}
