// Checkpoints of a run in its folder: saved at step boundaries, the newest few kept, and taken up again by --resume.

import { join } from "node:path";
import { type Files, parseStrictJson } from "@tunesmith/core";
import { type Example, sha256 } from "@tunesmith/data";
import type { NodeFiles } from "@tunesmith/node";
import type { Device } from "@tunesmith/tensor";
import {
  checkIdentity,
  checkpointFolders,
  checkpointName,
  hashModelFolder,
  type MemoryChoice,
  newestCheckpoint,
  readState,
  readText,
  restoreMoments,
  SftError,
  type TrainerState,
  type Tuning,
  verifyCheckpoint,
  writeManifest,
  writeState,
} from "@tunesmith/sft";
import type { ResolvedConfig } from "./config/load.ts";
import { withRoom } from "./room.ts";
import type { RunData } from "./run-data.ts";
import type { RunFolder } from "./run-folder.ts";
import { decided } from "./run-plan.ts";
import { readTuned, tunedKind } from "./tuned-folder.ts";

const ROOT = "checkpoints";
const MANIFEST = "manifest.json";

/** A checkpoint to go on from. */
export interface Resumed {
  readonly path: string;
  readonly state: TrainerState;
}

/**
 * The newest sound checkpoint of a run folder.
 * @throws SftError `CHECKPOINT_MISSING`
 */
export async function findCheckpoint(files: Files, output: string, say: (line: string) => void): Promise<Resumed> {
  const found = await newestCheckpoint(files, join(output, ROOT), (error) => say(`skipped: ${error.message}`));
  if (found) return { path: found.path, state: await readState(files, found.path) };
  throw new SftError("CHECKPOINT_MISSING", `${output} has no checkpoint to resume from`, {
    path: output,
    fix: "start the run without --resume; lower checkpoint.every to save earlier",
  });
}

/** What was decided for the first run where the config says auto, so that a resumed one computes the same bytes. */
export function withDecisions(config: ResolvedConfig, { decided }: TrainerState): ResolvedConfig {
  const train = Object.fromEntries(
    Object.entries(decided.train).filter(([key]) => config.train[key as keyof typeof decided.train] === "auto"),
  );
  return { ...config, train: { ...config.train, ...train } };
}

/** What a run has decided by now. */
export function decisionsOf(config: ResolvedConfig, choice: MemoryChoice, device: Device): TrainerState["decided"] {
  const { micro_batch_size, recompute, cross_entropy_rows } = decided(config, choice).train;
  return {
    train: { micro_batch_size, recompute, cross_entropy_rows },
    kernel_choices: device.kernelChoices.export(),
  };
}

/**
 * Puts a checkpoint's parameters and moments into a run's store.
 * @param mayDiffer - pieces of the identity that need not be what they were
 * @throws SftError `CHECKPOINT_CHANGED` if the run is made of something else now
 */
export async function restore(
  files: Files,
  { path, state }: Resumed,
  tuning: Tuning,
  identity: TrainerState["identity"],
  mayDiffer: readonly string[] = [],
): Promise<void> {
  const expected = { ...state.identity };
  for (const key of mayDiffer) expected[key] = identity[key]!;
  checkIdentity({ ...state, identity: expected }, identity, path);
  await readTuned(files, join(path, tunedKind(tuning)), tuning);
  await restoreMoments(files, path, tuning.store);
}

/** Saves and prunes; one per run. */
export class Checkpoints {
  readonly #folder: RunFolder;
  readonly #files: NodeFiles;
  readonly #bytes: number;
  readonly #keep: number;
  readonly #identity: TrainerState["identity"];
  readonly #decisions: () => TrainerState["decided"];

  /**
   * @param options.bytes - that one may take
   * @param options.decisions - asked at each save: kernels are chosen as programs are recorded
   */
  constructor(
    folder: RunFolder,
    files: NodeFiles,
    options: {
      bytes: number;
      keep: number;
      identity: TrainerState["identity"];
      decisions: () => TrainerState["decided"];
    },
  ) {
    this.#folder = folder;
    this.#files = files;
    this.#bytes = options.bytes;
    this.#keep = options.keep;
    this.#identity = options.identity;
    this.#decisions = options.decisions;
  }

  /**
   * Saves the state after `step` updates; where a sound checkpoint of that step is, it is left. Whatever fails, the
   * checkpoint before it stays, and nothing half-written.
   * @throws CliError `DISK_FULL`
   */
  async save(step: number, tuning: Tuning, evaluation: TrainerState["evaluation"]): Promise<void> {
    await this.#withRoom(step, async (name, path) => {
      const sound = await verifyCheckpoint(this.#files, path).then(
        () => true,
        () => false,
      );
      if (!sound) await this.#write(step, { name, path, tuning, evaluation });
      await this.#folder.writeJson("last.json", { step, path: name });
      await this.prune(evaluation);
    });
  }

  /**
   * Saves what had the lowest eval loss so far, and points best.json at it; the one before goes.
   * @throws CliError `DISK_FULL`
   */
  async saveBest(best: NonNullable<TrainerState["evaluation"]["best"]>, tuning: Tuning): Promise<void> {
    await this.#withRoom(best.step, async () => {
      await this.#folder.saveBest(best, tuning);
      await this.prune({ best });
    });
  }

  /** Does what writes into the folder of a step. If it fails there is what was there, or the whole of the new. */
  async #withRoom(step: number, work: (name: string, path: string) => Promise<void>): Promise<void> {
    const name = `${ROOT}/${checkpointName(step)}`;
    const path = join(this.#folder.path, name);
    try {
      const need = { path, bytes: this.#bytes, what: `the checkpoint of step ${step}` };
      await withRoom(this.#files, need, () => work(name, path));
    } catch (error) {
      await this.#discard(step, path).catch(() => {}); // the first error tells the story
      throw error;
    }
  }

  /** Removes what was begun in the folder of a step: all of it, or what is not the best that best.json points to. */
  async #discard(step: number, path: string): Promise<void> {
    const sound = await verifyCheckpoint(this.#files, path).then(
      () => true,
      () => false,
    );
    if (sound) return;
    if (!(await this.#isBest(step))) return removeCheckpoint(this.#files, path);
    for (const name of await this.#files.tree(path))
      if (!name.includes("/")) await this.#files.remove(join(path, name));
  }

  async #isBest(step: number): Promise<boolean> {
    const path = join(this.#folder.path, "best.json");
    if (!(await this.#files.exists(path))) return false;
    const best = parseStrictJson(await readText(this.#files, path), { path });
    return best instanceof Map && best.get("step") === step;
  }

  async #write(
    step: number,
    {
      name,
      path,
      tuning,
      evaluation,
    }: { name: string; path: string; tuning: Tuning; evaluation: TrainerState["evaluation"] },
  ): Promise<void> {
    // what was logged must outlive a loss of power if the checkpoint does
    const metricsBytes = await this.#folder.syncLog();
    await this.#folder.save(name, tuning, { exact: true });
    await writeState(this.#files, path, tuning.store, {
      step,
      identity: this.#identity,
      decided: this.#decisions(),
      metrics_bytes: metricsBytes,
      evaluation,
    });
    const written = await this.#files.tree(path);
    await writeManifest(
      this.#files,
      path,
      written.filter((file) => file !== MANIFEST),
    );
  }

  /** Removes all but the newest checkpoints and the best adapters that they, or the run, point to. */
  async prune({ best }: { readonly best?: TrainerState["evaluation"]["best"] | undefined }): Promise<void> {
    const folders = await checkpointFolders(this.#files, join(this.#folder.path, ROOT));
    const sealed: typeof folders = [];
    for (const folder of folders) if (await this.#files.exists(join(folder.path, MANIFEST))) sealed.push(folder);
    const kept = sealed.slice(-this.#keep);
    const steps = new Set([...kept.map(({ step }) => step), best?.step]);
    for (const { path } of kept) steps.add((await readState(this.#files, path)).evaluation.best?.step);
    for (const { path, step } of folders) if (!steps.has(step)) await removeCheckpoint(this.#files, path);
  }
}

/** Without its manifest first: what is left of it when the process dies is no checkpoint. */
async function removeCheckpoint(files: NodeFiles, path: string): Promise<void> {
  await files.remove(join(path, MANIFEST));
  await files.remove(path);
}

/** A name that `writeAtomic` gives to a file that is not finished. */
const TEMPORARY = /(?:^|\/)\.[^/]+\.[0-9a-f]{12}\.tmp$/;

/** Removes what an interrupted run wrote after a checkpoint, and points `best.json` and `last.json` back to what was then. */
export async function removeLater(files: NodeFiles, folder: RunFolder, state: TrainerState): Promise<void> {
  for (const { path, step } of await checkpointFolders(files, join(folder.path, ROOT)))
    if (step > state.step) await removeCheckpoint(files, path);
  for (const name of await files.tree(folder.path))
    if (TEMPORARY.test(name)) await files.remove(join(folder.path, ...name.split("/")));
  const at = (step: number): string => `${ROOT}/${checkpointName(step)}`;
  const { best } = state.evaluation;
  if (best) await folder.writeJson("best.json", { ...best, path: at(best.step) });
  else await files.remove(join(folder.path, "best.json"));
  await folder.writeJson("last.json", { step: state.step, path: at(state.step) });
}

/** Settings that may differ between a run and its resumption. */
const FREE: readonly string[] = ["train.memory_budget", "tune.init_from"];

/**
 * What a run is made of, piece by piece: hashes of the base, the tokenizer, the template and the rows as tokens, and the
 * settings that numbers depend on.
 */
export async function runIdentity(
  files: Files,
  config: ResolvedConfig,
  data: RunData,
): Promise<Record<string, string>> {
  const identity: Record<string, string> = {
    base: await hashModelFolder(files, config.model),
    tokenizer: data.tokenizer.fingerprint ?? "",
    template: data.templates === undefined ? "" : await sha256(new TextEncoder().encode(data.templates.default.source)),
    rows: await hashExamples(data.train),
    eval_rows: await hashExamples(data.evaluation ?? []),
    ...(data.probe
      ? { probe_rows: await hashExamples([...data.probe.examples, ...data.probe.pairs.flatMap(({ a, b }) => [a, b])]) }
      : {}),
    ...(data.replay ? { replay_rows: await hashExamples(data.replay.examples) } : {}),
    seed: String(config.seed),
  };
  const { replay: _, ...regularize } = config.regularize; // rows count, not where they lie
  const { packing, shuffle, group_by_length, sampling_schedule } = config.data;
  const sections = {
    data: { packing, shuffle, group_by_length, sampling_schedule },
    tune: config.tune,
    train: config.train,
    eval: config.eval,
    regularize,
  };
  for (const [section, values] of Object.entries(sections))
    for (const [key, value] of Object.entries(values))
      if (value !== undefined && !FREE.includes(`${section}.${key}`))
        identity[`${section}.${key}`] = JSON.stringify(value);
  return identity;
}

/** Of tokens, targets, weights and tasks, a thousand rows at a time. */
async function hashExamples(examples: readonly Example[]): Promise<string> {
  const hashes: string[] = [];
  for (let first = 0; first < examples.length; first += 1000) {
    const text = examples
      .slice(first, first + 1000)
      .map(({ inputIds, targets, targetWeights, task }) => [inputIds, targets, targetWeights, task].join(";"))
      .join("\n");
    hashes.push(await sha256(new TextEncoder().encode(text)));
  }
  return sha256(new TextEncoder().encode(hashes.join("\n")));
}
