// Prepared rows of one file: `<cache>/<key>/shard-00000.safetensors …` and, when all are there, `manifest.json`. Every file is
// written whole or not at all, so any number of processes may work on one folder, and one that dies leaves nothing to mend.

import { type Files, isTunesmithError, parseStrictJson } from "@tunesmith/core";
import { addCounts, joinChunks, NO_ROWS, type RowCounts, type TokenChunk } from "../dataset/chunk.ts";
import type { BatchJob, TokenizeBatch } from "../dataset/tokenize-batch.ts";
import { tokenizeFile } from "../dataset/tokenize-file.ts";
import { DataError } from "../errors.ts";
import type { Format } from "../formats/formats.ts";
import type { RawRow } from "../readers/raw-row.ts";
import { readTextFile } from "../tokenizer/model-folder.ts";
import { PREPARED_VERSION } from "./key.ts";
import { openShard, shardName, writeShard } from "./shard.ts";

/** Batches of rows per shard: about 4,096 rows or 8 MiB of JSON. */
const SHARD_BATCHES = 8;

/** One shard of a manifest. */
export interface ManifestShard {
  readonly file: string;
  /** bad ones counted */
  readonly rows: number;
  readonly examples: number;
  readonly tokens: number;
}

/** The last file to be written: with it, everything is there. */
export interface Manifest {
  readonly format_version: number;
  readonly key: string;
  /** where the rows were when they were prepared */
  readonly source: string;
  /** rows of the file, bad ones counted */
  readonly rows: number;
  readonly blank: number;
  readonly counts: RowCounts;
  readonly shards: readonly ManifestShard[];
}

/** One file's rows and how they are prepared. */
export interface PrepareJob {
  readonly files: Files;
  /** `<cache>/<key>` */
  readonly folder: string;
  readonly key: string;
  readonly source: string;
  readonly rows: AsyncIterable<RawRow>;
  /** blank lines seen so far while `rows` is read */
  readonly blank: () => number;
  readonly job: Omit<BatchJob, "format">;
  readonly format: Format | undefined;
  readonly tokenize: TokenizeBatch;
  readonly parallel: number;
  /** shards to prepare, by number; default all. The others are only read past */
  readonly wanted?: ((shard: number) => boolean) | undefined;
}

/** What became of a shard. */
export interface PreparedShard {
  readonly index: number;
  /** rows in it, bad ones counted */
  readonly rows: number;
  /** found: an earlier run or another process wrote it; left: not wanted and not there */
  readonly state: "written" | "found" | "left";
  /** the rows; undefined where `left` */
  read(): Promise<TokenChunk> | undefined;
}

/** @returns undefined where the folder has none, so that something may be missing */
export async function readManifest(files: Files, folder: string, key: string): Promise<Manifest | undefined> {
  const path = files.join(folder, "manifest.json");
  if (!(await files.exists(path))) return undefined;
  const text = await readTextFile(files, path);
  parseStrictJson(text, { path });
  const manifest = JSON.parse(text) as Manifest;
  if (manifest.format_version === PREPARED_VERSION && manifest.key === key) return manifest;
  throw new DataError(
    "PREPARED_INVALID",
    `${path}: a manifest of version ${manifest.format_version} and key ${manifest.key}`,
    {
      path,
      expected: `version ${PREPARED_VERSION}, key ${key}`,
      fix: "delete this folder and prepare the data again",
    },
  );
}

/**
 * Prepares what is not there yet and yields every shard in order. Shards that are there are not tokenized again; the file's
 * rows are read in any case, as a manifest needs their number. Without any shard missing the manifest is written.
 *
 * @throws what reading and tokenizing throw; shards that were written stay
 */
export async function* prepareFile(options: PrepareJob): AsyncGenerator<PreparedShard, void, undefined> {
  const { files, folder, key, wanted = () => true } = options;
  const found = await shardsIn(options);
  const shardOf = (batch: number): number => Math.floor(batch / SHARD_BATCHES);
  const batches = tokenizeFile(options.rows, options.job, {
    format: options.format,
    tokenize: options.tokenize,
    parallel: options.parallel,
    wanted: (batch) => wanted(shardOf(batch)) && !found.has(shardOf(batch)),
  });
  const rowsOf: number[] = [];
  let chunks: TokenChunk[] = [];
  const finish = async (index: number): Promise<PreparedShard> => {
    const rows = rowsOf[index]!;
    const path = files.join(folder, shardName(index));
    if (found.has(index)) return { index, rows, state: "found", read: () => readPreparedShard(files, options, index) };
    if (chunks.length === 0) return { index, rows, state: "left", read: () => undefined };
    const chunk = joinChunks(chunks);
    chunks = [];
    await writeShard(files, path, chunk, { key, index });
    return { index, rows, state: "written", read: async () => chunk };
  };
  for await (const { batch, rows, chunk } of batches) {
    const shard = shardOf(batch);
    if (shard > 0 && batch % SHARD_BATCHES === 0) yield await finish(shard - 1);
    rowsOf[shard] = (rowsOf[shard] ?? 0) + rows;
    if (chunk !== undefined) chunks.push(chunk);
  }
  if (rowsOf.length > 0) yield await finish(rowsOf.length - 1);
  await writeManifest(options, rowsOf);
}

/** Numbers of the shards that are whole. */
async function shardsIn({ files, folder, key }: PrepareJob): Promise<Set<number>> {
  const found = new Set<number>();
  let names: string[];
  try {
    names = await files.list(folder);
  } catch (error) {
    if (isTunesmithError(error) && error.code === "FILE_MISSING") return found;
    throw error;
  }
  for (const name of names) {
    const index = Number(/^shard-(\d{5,})\.safetensors$/.exec(name)?.[1] ?? NaN);
    if (Number.isNaN(index)) continue;
    try {
      await (await openShard(files, files.join(folder, name), { key, index })).close();
      found.add(index);
    } catch (error) {
      if (!(error instanceof DataError)) throw error; // damaged: it is written again
    }
  }
  return found;
}

/** @throws DataError `PREPARED_INVALID` for a shard that is missing, cut off or changed */
export async function readPreparedShard(
  files: Files,
  { folder, key }: { readonly folder: string; readonly key: string },
  index: number,
): Promise<TokenChunk> {
  const shard = await openShard(files, files.join(folder, shardName(index)), { key, index });
  try {
    return await shard.read();
  } finally {
    await shard.close();
  }
}

/** Other processes may have written the other shards in the meantime: whoever finds all of them writes the manifest. */
async function writeManifest(options: PrepareJob, rowsOf: readonly number[]): Promise<void> {
  const { files, folder, key, source } = options;
  const found = await shardsIn(options);
  if (rowsOf.some((_, index) => !found.has(index))) return;
  let counts = NO_ROWS;
  const shards: ManifestShard[] = [];
  for (const [index, rows] of rowsOf.entries()) {
    const file = shardName(index);
    const shard = await openShard(files, files.join(folder, file), { key, index });
    await shard.close();
    counts = addCounts(counts, shard.info.counts);
    shards.push({ file, rows, examples: shard.info.examples, tokens: shard.info.length });
  }
  const rows = rowsOf.reduce((sum, count) => sum + count, 0);
  const manifest: Manifest = {
    format_version: PREPARED_VERSION,
    key,
    source,
    rows,
    blank: options.blank(),
    counts,
    shards,
  };
  const text = `${JSON.stringify(manifest, null, 2)}\n`;
  await files.writeAtomic(files.join(folder, "manifest.json"), [new TextEncoder().encode(text)]);
}
