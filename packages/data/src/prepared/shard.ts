// A prepared shard: the flat arrays of some thousand rows as a safetensors file that proves itself by hashes.

import { type Files, isTunesmithError, type JsonValue, parseStrictJson } from "@tunesmith/core";
import { openSafetensors, type SafetensorsFile, type TensorToWrite, writeSafetensors } from "@tunesmith/safetensors";
import type { RowCounts, TokenChunk } from "../dataset/chunk.ts";
import { DataError } from "../errors.ts";
import { PREPARED_VERSION, sha256 } from "./key.ts";

/** What is known of a shard without reading its arrays. */
export interface ShardInfo {
  readonly counts: RowCounts;
  readonly tasks: readonly string[];
  readonly examples: number;
  /** tokens of all examples */
  readonly length: number;
}

const ARRAYS = {
  starts: "I32",
  task_of: "I32",
  row_of: "I32",
  input_ids: "I32",
  targets: "I32",
  target_weights: "F32",
  position_ids: "I32",
  segment_ids: "I32",
} as const;
type ArrayName = keyof typeof ARRAYS;

export function shardName(index: number): string {
  return `shard-${String(index).padStart(5, "0")}.safetensors`;
}

/** @throws what `files.writeAtomic` throws; a shard is there whole or not at all */
export async function writeShard(
  files: Files,
  path: string,
  chunk: TokenChunk,
  { key, index }: { readonly key: string; readonly index: number },
): Promise<void> {
  const arrays: [ArrayName, Int32Array | Float32Array | undefined][] = [
    ["starts", chunk.starts],
    ["task_of", chunk.taskOf],
    ["row_of", chunk.rowOf],
    ["input_ids", chunk.inputIds],
    ["targets", chunk.targets],
    ["target_weights", chunk.targetWeights],
    ["position_ids", chunk.positionIds],
    ["segment_ids", chunk.segmentIds],
  ];
  const tensors = new Map<string, TensorToWrite>();
  const hashes: Record<string, string> = {};
  for (const [name, array] of arrays) {
    if (array === undefined) continue;
    const data = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    tensors.set(name, { dtype: ARRAYS[name], shape: [array.length], data });
    hashes[name] = await sha256(data);
  }
  const about = { format_version: PREPARED_VERSION, key, index, tasks: chunk.tasks, counts: chunk.counts, hashes };
  await writeSafetensors(files, path, tensors, new Map([["tunesmith", JSON.stringify(about)]]));
}

/** An open shard. */
export interface OpenShard {
  readonly info: ShardInfo;
  /** everything, checked against its hashes. @throws DataError `PREPARED_INVALID` */
  read(): Promise<TokenChunk>;
  /** some elements of an array, not checked by a hash */
  range(
    name: "starts" | "row_of" | "task_of" | "input_ids" | "targets" | "position_ids" | "segment_ids",
    from: number,
    to: number,
  ): Promise<Int32Array | undefined>;
  weights(from: number, to: number): Promise<Float32Array>;
  close(): Promise<void>;
}

/** @throws DataError `PREPARED_INVALID` for a file that is no whole shard with this key and number */
export async function openShard(
  files: Files,
  path: string,
  expected: { readonly key: string; readonly index: number },
): Promise<OpenShard> {
  const fail = (because: string, cause?: unknown): DataError =>
    new DataError("PREPARED_INVALID", `${path}: ${because}`, {
      path,
      expected: `shard ${expected.index} of the prepared rows ${expected.key}`,
      fix: "delete this folder and prepare the data again",
      cause,
    });
  let file: SafetensorsFile;
  let about: About;
  try {
    file = await openSafetensors(files, path);
  } catch (cause) {
    if (!isTunesmithError(cause)) throw cause;
    throw fail("not a whole shard", cause);
  }
  try {
    about = aboutOf(file.metadata.get("tunesmith") ?? "", path);
    if (about.key !== expected.key || about.index !== expected.index)
      throw fail(`it is shard ${about.index} of ${about.key}`);
    checkShapes(file, fail);
  } catch (cause) {
    await file.close();
    if (cause instanceof DataError) throw cause;
    throw fail("its description is damaged", cause);
  }

  const sizeOf = (name: ArrayName): number => file.tensors.get(name)!.shape[0]!;
  const has = (name: ArrayName): boolean => file.tensors.has(name);
  const whole = async (name: ArrayName): Promise<Uint8Array> => {
    const bytes = await file.read(name);
    if ((await sha256(bytes)) !== about.hashes[name]) throw fail(`${name} has changed since it was written`);
    return aligned(bytes);
  };
  const ints = async (name: ArrayName): Promise<Int32Array> => new Int32Array((await whole(name)).buffer);
  const part = async (name: ArrayName, from: number, to: number): Promise<ArrayBuffer> =>
    aligned(await file.readRange(name, 4 * from, 4 * (to - from))).buffer;
  return {
    info: { counts: about.counts, tasks: about.tasks, examples: sizeOf("row_of"), length: sizeOf("input_ids") },
    read: async () => ({
      counts: about.counts,
      tasks: about.tasks,
      starts: await ints("starts"),
      taskOf: await ints("task_of"),
      rowOf: await ints("row_of"),
      inputIds: await ints("input_ids"),
      targets: await ints("targets"),
      targetWeights: new Float32Array((await whole("target_weights")).buffer),
      ...(has("position_ids") ? { positionIds: await ints("position_ids") } : {}),
      ...(has("segment_ids") ? { segmentIds: await ints("segment_ids") } : {}),
    }),
    range: async (name, from, to) => (has(name) ? new Int32Array(await part(name, from, to)) : undefined),
    weights: async (from, to) => new Float32Array(await part("target_weights", from, to)),
    close: () => file.close(),
  };
}

/** Bytes at the start of a buffer of their own, as typed arrays need them. */
function aligned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const alone = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength;
  return (alone ? bytes : bytes.slice()) as Uint8Array<ArrayBuffer>;
}

interface About extends Pick<ShardInfo, "counts" | "tasks"> {
  readonly key: string;
  readonly index: number;
  readonly hashes: Readonly<Record<string, string>>;
}

/** Maps as plain objects. */
function plain(value: JsonValue): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, entry]) => [key, plain(entry)]));
  return Array.isArray(value) ? value.map(plain) : value;
}

function aboutOf(text: string, path: string): About {
  const about = plain(parseStrictJson(text, { path })) as About & { format_version?: unknown };
  if (about.format_version !== PREPARED_VERSION)
    throw new TypeError(`format_version ${String(about.format_version)}, this version reads ${PREPARED_VERSION}`);
  return about;
}

function checkShapes(file: SafetensorsFile, fail: (because: string) => DataError): void {
  const length = (name: ArrayName): number | undefined => {
    const info = file.tensors.get(name);
    if (info === undefined) return undefined;
    if (info.dtype !== ARRAYS[name] || info.shape.length !== 1)
      throw fail(`${name} is ${info.dtype} [${info.shape.join()}]`);
    return info.shape[0];
  };
  const [examples, tokens] = [length("row_of"), length("input_ids")];
  if (examples === undefined || tokens === undefined) throw fail("an array is missing");
  for (const [name, expected, optional] of [
    ["starts", examples + 1, false],
    ["task_of", examples, false],
    ["targets", tokens, false],
    ["target_weights", tokens, false],
    ["position_ids", tokens, true],
    ["segment_ids", tokens, true],
  ] as const) {
    const found = length(name);
    if (found !== expected && !(optional && found === undefined))
      throw fail(`${name} has ${found ?? "no"} elements, expected ${expected}`);
  }
}
