// Checkpoints of a run in its folder: saved at step boundaries, the newest few kept, and taken up again by --resume.

import { readdir, rm } from "node:fs/promises";
import { join, sep } from "node:path";
import type { Files } from "@tunesmith/core";
import { type Example, hashFile, sha256 } from "@tunesmith/data";
import { readPeft } from "@tunesmith/lora";
import { linearPaths, replaceableWeights } from "@tunesmith/models";
import { openModel } from "@tunesmith/safetensors";
import type { Device } from "@tunesmith/tensor";
import {
  checkIdentity,
  checkpointFolders,
  checkpointName,
  type MemoryChoice,
  newestCheckpoint,
  readState,
  restoreMoments,
  SftError,
  type TrainerState,
  type Tuning,
  verifyCheckpoint,
  writeManifest,
  writeState,
} from "@tunesmith/sft";
import type { ResolvedConfig } from "./config/load.ts";
import type { RunData } from "./run-data.ts";
import type { RunFolder } from "./run-folder.ts";
import { decided } from "./run-plan.ts";

const ROOT = "checkpoints";

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
 * @throws SftError `CHECKPOINT_CHANGED` if the run is made of something else now
 */
export async function restore(
  files: Files,
  { path, state }: Resumed,
  tuning: Tuning,
  identity: TrainerState["identity"],
): Promise<void> {
  checkIdentity(state, identity, path);
  const { values } = await readPeft(
    files,
    join(path, "adapter"),
    linearPaths(tuning.model.config),
    replaceableWeights(tuning.model.config),
  );
  for (const name of tuning.store.names) tuning.store.write(name, "values", values.get(name)!);
  await restoreMoments(files, path, tuning.store);
}

/** Saves and prunes; one per run. */
export class Checkpoints {
  readonly #folder: RunFolder;
  readonly #files: Files;
  readonly #keep: number;
  readonly #identity: TrainerState["identity"];
  readonly #decisions: () => TrainerState["decided"];

  /** @param options.decisions - asked at each save: kernels are chosen as programs are recorded */
  constructor(
    folder: RunFolder,
    files: Files,
    options: { keep: number; identity: TrainerState["identity"]; decisions: () => TrainerState["decided"] },
  ) {
    this.#folder = folder;
    this.#files = files;
    this.#keep = options.keep;
    this.#identity = options.identity;
    this.#decisions = options.decisions;
  }

  /** Saves the state after `step` updates. Where a sound checkpoint of that step is, nothing is written. */
  async save(step: number, tuning: Tuning, evaluation: TrainerState["evaluation"]): Promise<void> {
    const name = `${ROOT}/${checkpointName(step)}`;
    const path = join(this.#folder.path, name);
    const sound = await verifyCheckpoint(this.#files, path).then(
      () => true,
      () => false,
    );
    if (!sound) {
      await this.#folder.saveAdapter(`${name}/adapter`, tuning.adapter!);
      await writeState(this.#files, path, tuning.store, {
        step,
        identity: this.#identity,
        decided: this.#decisions(),
        evaluation,
      });
      const written = await readdir(path, { recursive: true, withFileTypes: true });
      await writeManifest(
        this.#files,
        path,
        written
          .filter((entry) => entry.isFile())
          .map((entry) =>
            join(entry.parentPath, entry.name)
              .slice(path.length + 1)
              .split(sep)
              .join("/"),
          )
          .filter((file) => file !== "manifest.json"),
      );
    }
    await this.prune(evaluation);
  }

  /** Removes all but the newest checkpoints and the best adapters that they, or the run, point to. */
  async prune({ best }: { readonly best?: TrainerState["evaluation"]["best"] | undefined }): Promise<void> {
    const folders = await checkpointFolders(this.#files, join(this.#folder.path, ROOT));
    const sealed: typeof folders = [];
    for (const folder of folders) if (await this.#files.exists(join(folder.path, "manifest.json"))) sealed.push(folder);
    const kept = sealed.slice(-this.#keep);
    const steps = new Set([...kept.map(({ step }) => step), best?.step]);
    for (const { path } of kept) steps.add((await readState(this.#files, path)).evaluation.best?.step);
    for (const { path, step } of folders) if (!steps.has(step)) await rm(path, { recursive: true, force: true });
  }
}

/** Removes what an interrupted run wrote after a checkpoint. */
export async function removeLater(files: Files, output: string, { state }: Resumed): Promise<void> {
  for (const { path, step } of await checkpointFolders(files, join(output, ROOT)))
    if (step > state.step) await rm(path, { recursive: true, force: true });
}

/** Settings that may differ between a run and its resumption. */
const FREE: readonly string[] = ["train.memory_budget"];

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
    base: await hashModel(files, config.model),
    tokenizer: data.tokenizer.fingerprint ?? "",
    template: data.templates === undefined ? "" : await sha256(new TextEncoder().encode(data.templates.default.source)),
    rows: await hashExamples(data.train),
    eval_rows: await hashExamples(data.evaluation ?? []),
    seed: String(config.seed),
  };
  const { packing, shuffle, group_by_length, sampling_schedule } = config.data;
  const sections = {
    data: { packing, shuffle, group_by_length, sampling_schedule },
    tune: config.tune,
    train: config.train,
    eval: config.eval,
  };
  for (const [section, values] of Object.entries(sections))
    for (const [key, value] of Object.entries(values))
      if (value !== undefined && !FREE.includes(`${section}.${key}`))
        identity[`${section}.${key}`] = JSON.stringify(value);
  return identity;
}

async function hashModel(files: Files, folder: string): Promise<string> {
  const model = await openModel(files, folder);
  await model.close();
  const hashes: string[] = [];
  for (const name of ["config.json", ...model.shards]) hashes.push((await hashFile(files, join(folder, name))).sha256);
  return sha256(new TextEncoder().encode(hashes.join("\n")));
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
