// What a run needs to go on as if it had not stopped: the optimizer's moments, and the trainer's state as JSON. Random
// numbers and the order of examples are functions of (seed, step), so the step says where they are.

import { type Files, parseStrictJson } from "@tunesmith/core";
import type { ParameterStore } from "@tunesmith/optim";
import { openSafetensors, writeSafetensors } from "@tunesmith/safetensors";
import type { TensorToWrite } from "@tunesmith/safetensors";
import { SftError } from "../errors.ts";
import { readText } from "./folder.ts";

const FORMAT_VERSION = 2;
export const OPTIMIZER_FILE = "optimizer.safetensors";
export const STATE_FILE = "state.json";

/** The trainer's state. */
export interface TrainerState {
  /** finished updates */
  readonly step: number;
  /** what the run was made from, each as a hash or a value: a resumed run must have the same */
  readonly identity: Readonly<Record<string, string>>;
  /** decisions of the first run that a resumed one obeys */
  readonly decided: {
    /** keys of the config's `train` that said auto */
    readonly train: Readonly<Record<"micro_batch_size" | "recompute" | "cross_entropy_rows", unknown>>;
    /** which kernels sums ran through: another one rounds differently */
    readonly kernel_choices: Readonly<Record<string, string>>;
  };
  /** length of metrics.jsonl: what follows was logged after the checkpoint */
  readonly metrics_bytes: number;
  /** evaluations so far */
  readonly evaluation: {
    readonly best: { readonly step: number; readonly eval_loss: number } | null;
    /** since the best one */
    readonly worse: number;
    /** step of the last one */
    readonly last: number | null;
    /** step of the last probe */
    readonly probed?: number | null;
  };
}

/** Writes moments and state into a folder; parameters go beside them in their own format. */
export async function writeState(
  files: Files,
  folder: string,
  store: ParameterStore,
  state: TrainerState,
): Promise<void> {
  const tensors = new Map<string, TensorToWrite>();
  for (const [name, { dtype, size, read }] of store.savedStates) {
    // one by one: the memory plan has room for the copy of one parameter, not of all
    const data = async function* (): AsyncGenerator<Uint8Array> {
      yield await read();
    };
    tensors.set(name, { dtype, shape: [size], data });
  }
  await writeSafetensors(files, files.join(folder, OPTIMIZER_FILE), tensors);
  const text = `${JSON.stringify({ format_version: FORMAT_VERSION, ...state }, null, 2)}\n`;
  await files.writeAtomic(files.join(folder, STATE_FILE), [new TextEncoder().encode(text)]);
}

/**
 * Reads the state of a sound checkpoint.
 * @throws SftError `CHECKPOINT_UNSOUND` for another format
 */
export async function readState(files: Files, folder: string): Promise<TrainerState> {
  const path = files.join(folder, STATE_FILE);
  const text = await readText(files, path);
  parseStrictJson(text, { path });
  const json = JSON.parse(text) as TrainerState & { format_version: number };
  if (json.format_version !== FORMAT_VERSION)
    throw new SftError("CHECKPOINT_UNSOUND", `${path}: format_version ${json.format_version}`, {
      path,
      received: String(json.format_version),
      expected: String(FORMAT_VERSION),
      fix: "resume with the version of tunesmith that wrote it",
    });
  return json;
}

/**
 * Puts moments back.
 * @throws SftError `CHECKPOINT_CHANGED` for moments of another optimizer or other parameters
 */
export async function restoreMoments(files: Files, folder: string, store: ParameterStore): Promise<void> {
  const path = files.join(folder, OPTIMIZER_FILE);
  const tensors = await openSafetensors(files, path);
  try {
    const expected = store.savedStates;
    const fits = [...expected].every(([name, { dtype, size }]) => {
      const found = tensors.tensors.get(name);
      return found?.dtype === dtype && found.shape.join() === String(size);
    });
    if (tensors.tensors.size !== expected.size || !fits)
      throw new SftError("CHECKPOINT_CHANGED", `${path} holds the moments of other parameters`, {
        path,
        received: `${tensors.tensors.size} tensors`,
        expected: `${expected.size} tensors`,
        fix: "resume with the config of the run",
      });
    for (const [name, state] of expected) state.write(await tensors.read(name));
  } finally {
    await tensors.close();
  }
}

/**
 * Is a resumed run made of what the first one was made of?
 * @throws SftError `CHECKPOINT_CHANGED` naming what differs
 */
export function checkIdentity(state: TrainerState, now: TrainerState["identity"], path: string): void {
  const keys = [...new Set([...Object.keys(state.identity), ...Object.keys(now)])];
  const changed = keys.filter((key) => state.identity[key] !== now[key]);
  const [first] = changed;
  if (first === undefined) return;
  throw new SftError("CHECKPOINT_CHANGED", `${path} belongs to another run: changed since are ${changed.join(", ")}`, {
    path,
    received: `${first}: ${now[first] ?? "absent"}`,
    expected: `${first}: ${state.identity[first] ?? "absent"}`,
    fix: "put back what was there, or start anew with --overwrite",
  });
}
