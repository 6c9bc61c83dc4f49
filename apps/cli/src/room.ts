// Room on the disk: asked before anything is written, and named where it turns out to be missing.

import type { Files } from "@tunesmith/core";
import { parameterShapes } from "@tunesmith/models";
import type { NodeFiles } from "@tunesmith/node";
import type { Tuning } from "@tunesmith/sft";
import { bytesText } from "./bytes.ts";
import { CliError } from "./errors.ts";
import { modelFileNames, sizeOf } from "./model-files.ts";

const FULL = ["ENOSPC", "EDQUOT"];
/** What safetensors writes about a tensor, at most for names of models there are. */
const BYTES_PER_ENTRY = 256;
/** config, state and manifest */
const BYTES_OF_JSON = 2 ** 16;

/** What is to be written. */
export interface Need {
  /** where it goes; need not exist */
  readonly path: string;
  /** at most */
  readonly bytes: number;
  /** for people */
  readonly what: string;
}

/**
 * Does what writes, if there is room for it.
 * @throws CliError `DISK_FULL`, also where the disk fills up meanwhile
 */
export async function withRoom<T>(files: NodeFiles, need: Need, work: () => Promise<T>): Promise<T> {
  try {
    const free = await files.freeBytes(need.path);
    if (free < need.bytes) throw diskFull(need, free);
    return await work();
  } catch (error) {
    if (!FULL.includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    throw diskFull(need, await files.freeBytes(need.path).catch(() => undefined), error);
  }
}

function diskFull({ path, bytes, what }: Need, free: number | undefined, cause?: unknown): CliError {
  return new CliError(
    "DISK_FULL",
    `${path}: ${what} takes ${bytes} bytes (${bytesText(bytes)}), and the disk is full`,
    {
      path,
      expected: `${bytes} bytes free`,
      ...(free === undefined ? {} : { received: `${free} bytes free` }),
      fix: "free that much space and go on with --resume; what was saved before is still there",
      ...(cause === undefined ? {} : { cause }),
    },
  );
}

/**
 * What one checkpoint takes at most: trained values as f32 (of a whole model all of it), the optimizer's state, and the
 * small files of the model folder, which go with it.
 */
export async function checkpointBytes(
  files: Files,
  modelFolder: string,
  { adapter, model, store }: Tuning,
): Promise<number> {
  const trained = [...store.layout.slices.values()].flat().map(({ shape }) => elements(shape));
  const values = adapter ? trained : [...parameterShapes(model.config).values()].map(elements);
  let bytes = BYTES_OF_JSON;
  for (const size of values) bytes += 4 * size + BYTES_PER_ENTRY;
  for (const { dtype, size } of store.savedStates.values()) bytes += (dtype === "F32" ? 4 : 1) * size + BYTES_PER_ENTRY;
  for (const name of await modelFileNames(files, modelFolder))
    bytes += (await sizeOf(files, files.join(modelFolder, name))) ?? 0;
  return bytes;
}

function elements(shape: readonly number[]): number {
  return shape.reduce((n, d) => n * d, 1);
}
