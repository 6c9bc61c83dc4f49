import type { Files, FileSource } from "@tunesmith/core";
import { quote, SafetensorsError } from "./errors.ts";
import { MAX_TENSORS } from "./header.ts";
import type { TensorInfo } from "./header.ts";
import { checkPlainName, openInside } from "./open-inside.ts";
import { find, MAX_HEADER_BYTES, readSource } from "./read.ts";
import type { SafetensorsFile, TensorSource } from "./read.ts";
import { createScanner } from "./scanner.ts";
import type { Scanner } from "./scanner.ts";

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
/** Keys of an index beside each other; real ones have two. */
const MAX_KEYS = 1024;

/** A tensor of a model, and the file it lies in. */
export interface ModelTensorInfo extends TensorInfo {
  /** plain name of a file in the model folder */
  readonly file: string;
}

/** All tensors of a model folder, whether it has one file or many. */
export interface SafetensorsModel extends TensorSource<ModelTensorInfo> {
  readonly folder: string;
  /** names of the files, in the order of the index */
  readonly shards: readonly string[];
}

/**
 * Opens the safetensors of a model folder: `model.safetensors`, or the shards that
 * `model.safetensors.index.json` names. Reads headers only. Every shard is checked like a single file, and
 * index and shards must agree exactly: each tensor lies in the one shard that the index names, and no shard
 * holds a tensor that the index does not place there. No file outside the folder is opened.
 *
 * `metadata.total_size` of an index is not compared: exporters fill it with sizes from before a conversion.
 *
 * @throws {@link SafetensorsError} `MODEL_MISSING`, `MODEL_AMBIGUOUS`, `INDEX_INVALID`, `PATH_NOT_PLAIN`, `PATH_OUTSIDE`,
 *   `FILE_NOT_IN_FOLDER`, `TENSOR_NOT_IN_SHARD`, `TENSOR_IN_WRONG_SHARD`, `TENSOR_NOT_IN_INDEX`, and all of `openSafetensors`
 */
export async function openModel(files: Files, folder: string): Promise<SafetensorsModel> {
  const names = await files.list(folder);
  const single = names.includes(SINGLE);
  if (names.includes(INDEX)) {
    const index = await readIndex(await openInside(files, folder, INDEX));
    const shards = new Set(index.values());
    if (single && (shards.size !== 1 || !shards.has(SINGLE))) {
      const message = `${folder} has ${SINGLE} and an index that names other files: two models in one folder`;
      throw new SafetensorsError("MODEL_AMBIGUOUS", message, {
        path: folder,
        fix: `remove ${SINGLE}, or ${INDEX} and its shards`,
      });
    }
    return openShards(files, folder, [...shards], index);
  }
  if (single) return openShards(files, folder, [SINGLE], undefined);
  const message = `${folder} has neither ${SINGLE} nor ${INDEX}`;
  const fix = names.some((name) => /\.(bin|pth?|gguf)$/.test(name))
    ? "convert the model to safetensors: other weight files are not read"
    : "check that this is a model folder and that the download is complete";
  throw new SafetensorsError("MODEL_MISSING", message, { path: folder, expected: SINGLE, fix });
}

/** tensor → file, in the order of the index. */
async function readIndex(source: FileSource): Promise<Map<string, string>> {
  const { path, size } = source;
  try {
    if (size > MAX_HEADER_BYTES) {
      const message = `${path}: ${size} bytes, an index may have ${MAX_HEADER_BYTES}`;
      throw new SafetensorsError("INDEX_INVALID", message, { path, fix: "check that this is the index of a model" });
    }
    return parseIndex(createScanner(await source.read(0, size), { path, base: 0, kind: "index" }), path);
  } finally {
    await source.close();
  }
}

function parseIndex(scanner: Scanner, path: string): Map<string, string> {
  const weightMap = new Map<string, string>();
  const files = new Map<string, string>(); // one copy of each name, not one per tensor
  const keys = new Set<string>();
  const wrong = (because: string): never => scanner.fail("INDEX_INVALID", because);
  const entry = (tensor: string): void => {
    if (weightMap.has(tensor)) scanner.fail("DUPLICATE_KEY", `the tensor ${quote(tensor)} appears twice`);
    if (weightMap.size === MAX_TENSORS) scanner.fail("LIMIT_EXCEEDED", `more than ${MAX_TENSORS} tensors`);
    if (!scanner.starts("string")) wrong(`the file of ${quote(tensor)} must be a text`);
    const name = scanner.string();
    const known = files.get(name);
    if (known === undefined) {
      checkPlainName(name, path);
      files.set(name, name);
    }
    weightMap.set(tensor, known ?? name);
  };
  scanner.object((key) => {
    if (keys.has(key)) scanner.fail("DUPLICATE_KEY", `the key ${quote(key)} appears twice`);
    if (keys.size === MAX_KEYS) scanner.fail("LIMIT_EXCEEDED", `more than ${MAX_KEYS} keys`);
    keys.add(key);
    if (key !== "weight_map") return scanner.skip();
    if (!scanner.starts("object")) wrong("weight_map must be an object");
    scanner.object(entry);
  });
  scanner.end();
  if (weightMap.size === 0) wrong("weight_map is missing or empty");
  return weightMap;
}

async function openShards(
  files: Files,
  folder: string,
  shards: readonly string[],
  index: ReadonlyMap<string, string> | undefined,
): Promise<SafetensorsModel> {
  const open = new Map<string, SafetensorsFile>();
  const close = async (): Promise<void> => {
    for (const shard of open.values()) await shard.close();
  };
  try {
    const tensors = new Map<string, ModelTensorInfo>();
    for (const file of shards) {
      const shard = await readSource(await openInside(files, folder, file));
      open.set(file, shard);
      for (const [name, info] of shard.tensors) {
        const expected = index ? index.get(name) : file;
        if (expected !== file) misplaced(folder, name, file, expected);
        tensors.set(name, { ...info, file });
      }
    }
    for (const [name, file] of index ?? []) if (!tensors.has(name)) absent(folder, name, file);
    return {
      folder,
      shards,
      tensors,
      read: async (name) => open.get(find(tensors, name, folder).file)!.read(name),
      readRange: async (name, byteOffset, byteLength) =>
        open.get(find(tensors, name, folder).file)!.readRange(name, byteOffset, byteLength),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

const FIX = "download the index and the shards of one and the same model again";

function misplaced(folder: string, tensor: string, file: string, expected: string | undefined): never {
  const shown = `${folder}: tensor ${quote(tensor)} lies in ${quote(file)}`;
  if (expected === undefined) {
    const message = `${shown}, but the index does not name it`;
    throw new SafetensorsError("TENSOR_NOT_IN_INDEX", message, { path: folder, tensor, received: file, fix: FIX });
  }
  const message = `${shown}, but the index places it in ${quote(expected)}`;
  throw new SafetensorsError("TENSOR_IN_WRONG_SHARD", message, {
    path: folder,
    tensor,
    received: file,
    expected,
    fix: FIX,
  });
}

function absent(folder: string, tensor: string, file: string): never {
  const message = `${folder}: the index places tensor ${quote(tensor)} in ${quote(file)}, which does not have it`;
  throw new SafetensorsError("TENSOR_NOT_IN_SHARD", message, { path: folder, tensor, expected: file, fix: FIX });
}
