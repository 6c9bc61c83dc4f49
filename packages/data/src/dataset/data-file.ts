// One file of a dataset: what its rows become, told by its entry and the run, and where that is kept when it is prepared.

import { BugError } from "@tunesmith/core";
import type { ChatTemplates } from "../chat-template/load.ts";
import { formatByName } from "../formats/formats.ts";
import { drawsWordings } from "../formats/map-columns.ts";
import { hashFile, preparedKey } from "../prepared/key.ts";
import { type Manifest, type PrepareJob, prepareFile, readManifest, readPreparedShard } from "../prepared/prepare.ts";
import { decideFileFormat, readRawRows } from "../readers/read-rows.ts";
import type { TokenChunk } from "./chunk.ts";
import type { DataEntry, DatasetOptions } from "./dataset.ts";
import { tokenizeBatch, type TokenizeBatch } from "./tokenize-batch.ts";
import { firstRows, tokenizeFile } from "./tokenize-file.ts";

/** A file and how it is read. */
export interface DataFile {
  readonly path: string;
  readonly entry: DataEntry;
  readonly templates: ChatTemplates | undefined;
  /** rows to read at most, bad ones counted */
  readonly limit: number;
}

/** How a file's rows become tokens: everything but a place to keep them. */
type Work = Omit<PrepareJob, "folder" | "key" | "wanted">;

function workOf({ path, entry, templates, limit }: DataFile, options: DatasetOptions): Work {
  const named = formatByName(entry.format ?? "auto");
  const { fileFormat, rowsKey, sampleBy } = entry;
  let blank = 0;
  const here: TokenizeBatch = (batch, job) => tokenizeBatch(batch, job, { tokenizer: options.tokenizer, templates });
  const rows = readRawRows(options.files, path, { fileFormat, rowsKey, sampleBy, onBlank: () => blank++ });
  return {
    files: options.files,
    source: path,
    rows: firstRows(rows, limit),
    blank: () => blank,
    job: {
      folder: options.folder,
      chatTemplate: entry.chatTemplate ?? options.chatTemplate,
      // a seed that changes no row must not make prepared rows anew
      rows: { ...entry.rows, ...(drawsWordings(entry.rows?.map) ? { seed: options.seed ?? 0 } : {}) },
      trainOn: entry.trainOn ?? options.trainOn,
      maxLength: entry.maxLength ?? options.maxLength,
      overlong: entry.overlong ?? options.overlong,
      onBadRow: entry.onBadRow ?? options.onBadRow ?? "error",
      appendEos: options.appendEos,
      vocabSize: options.vocabSize,
      now: options.now,
    },
    format: named === "auto" ? undefined : named,
    tokenize: options.workers?.tokenize ?? here,
    parallel: options.workers?.parallel ?? 1,
  };
}

/** The chunks of a file in order, from the cache where one is named. `blank` is told once they are through. */
export async function* chunksOf(
  file: DataFile,
  options: DatasetOptions,
  blank: (lines: number) => void,
): AsyncGenerator<TokenChunk, void, undefined> {
  const work = workOf(file, options);
  if (options.cache === undefined) {
    for await (const { chunk } of tokenizeFile(work.rows, work.job, work)) yield chunk!;
    blank(work.blank());
    return;
  }
  const place = await placeOf(file, work, options.cache, options);
  const manifest = await readManifest(options.files, place.folder, place.key);
  if (manifest !== undefined) {
    for (const index of manifest.shards.keys()) yield await readPreparedShard(options.files, place, index);
    blank(manifest.blank);
    return;
  }
  for await (const shard of prepareFile({ ...work, ...place })) yield (await shard.read())!;
  blank(work.blank());
}

/** What one call did for one file. */
export interface PreparedReport {
  readonly path: string;
  readonly folder: string;
  /** rows of the file, bad ones counted */
  readonly rows: number;
  readonly shards: number;
  /** shards that this call wrote */
  readonly written: number;
  /** of the whole file; undefined while shards are missing that are others' to write */
  readonly manifest: Manifest | undefined;
}

/** Prepares the wanted shards of a file. */
export async function prepareOne(
  file: DataFile,
  options: DatasetOptions & { readonly cache: string },
  wanted: (shard: number) => boolean,
): Promise<PreparedReport> {
  const work = workOf(file, options);
  const place = await placeOf(file, work, options.cache, options);
  const { folder, key } = place;
  const done = await readManifest(options.files, folder, key);
  if (done !== undefined)
    return { path: file.path, folder, rows: done.rows, shards: done.shards.length, written: 0, manifest: done };
  let [rows, shards, written] = [0, 0, 0];
  for await (const shard of prepareFile({ ...work, ...place, wanted })) {
    rows += shard.rows;
    shards++;
    if (shard.state === "written") written++;
  }
  const manifest = await readManifest(options.files, folder, key);
  return { path: file.path, folder, rows, shards, written, manifest };
}

async function placeOf(
  { path, entry, templates, limit }: DataFile,
  { job, format }: Work,
  cache: string,
  { files, tokenizer }: DatasetOptions,
): Promise<{ folder: string; key: string }> {
  if (tokenizer.fingerprint === undefined) throw new BugError("a cache is named and the tokenizer has no fingerprint");
  const { rowsKey, sampleBy = "document" } = entry;
  const key = await preparedKey({
    source: await hashFile(files, path),
    read: {
      fileFormat: decideFileFormat(path, entry.fileFormat),
      packed: /\.gz$/i.test(path),
      rowsKey,
      sampleBy,
      limit: limit === Infinity ? null : limit,
      format: format ?? "auto",
    },
    job,
    templates,
    tokenizer: tokenizer.fingerprint,
  });
  return { folder: files.join(cache, key), key };
}
