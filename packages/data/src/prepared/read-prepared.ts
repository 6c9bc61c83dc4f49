// Examples of prepared rows by number: reads the shards they lie in, and of those only the bytes of these examples.

import type { Files } from "@tunesmith/core";
import { examplesOf, NO_ROWS } from "../dataset/chunk.ts";
import { DataError } from "../errors.ts";
import type { Example } from "../tokenize/example.ts";
import { type Manifest, readManifest } from "./prepare.ts";
import { openShard } from "./shard.ts";

/** Prepared rows of one file. */
export interface PreparedRows {
  readonly manifest: Manifest;
  /** number of examples */
  readonly length: number;
  /**
   * Examples `from` … `to` − 1; `row` counts from the file's first.
   * @param fileTask - task of rows that bring none
   * @throws RangeError outside 0 … length
   */
  read(from: number, to: number, fileTask: string): Promise<Example[]>;
}

/**
 * @param folder - `<cache>/<key>`, as `prepareDataset` reports it
 * @throws DataError `PREPARED_INVALID` where there is no manifest, or for shards that do not belong to it
 */
export async function openPrepared(files: Files, folder: string, key: string): Promise<PreparedRows> {
  const manifest = await readManifest(files, folder, key);
  if (manifest === undefined) {
    throw new DataError("PREPARED_INVALID", `${folder}: there is no manifest, so rows may be missing`, {
      path: folder,
      expected: "manifest.json",
      fix: "prepare all parts of the data",
    });
  }
  const { shards } = manifest;
  const length = shards.reduce((sum, shard) => sum + shard.examples, 0);
  return {
    manifest,
    length,
    read: async (from, to, fileTask) => {
      if (!(from >= 0 && from <= to && to <= length))
        throw new RangeError(`examples ${from} … ${to} of prepared rows that have ${length}`);
      const out: Example[] = [];
      let before = 0;
      let firstRow = 0;
      for (const [index, { file, examples, rows }] of shards.entries()) {
        const [low, high] = [Math.max(from - before, 0), Math.min(to - before, examples)];
        if (low < high) {
          const shard = await openShard(files, files.join(folder, file), { key, index });
          try {
            const starts = (await shard.range("starts", low, high + 1))!;
            const [start, end] = [starts[0]!, starts.at(-1)!];
            const positionIds = await shard.range("position_ids", start, end);
            const segmentIds = await shard.range("segment_ids", start, end);
            const chunk = {
              counts: NO_ROWS,
              tasks: shard.info.tasks,
              starts: starts.map((at) => at - start),
              taskOf: (await shard.range("task_of", low, high))!,
              rowOf: (await shard.range("row_of", low, high))!,
              inputIds: (await shard.range("input_ids", start, end))!,
              targets: (await shard.range("targets", start, end))!,
              targetWeights: await shard.weights(start, end),
              ...(positionIds === undefined ? {} : { positionIds }),
              ...(segmentIds === undefined ? {} : { segmentIds }),
            };
            out.push(...examplesOf(chunk, { fileTask, firstRow }));
          } finally {
            await shard.close();
          }
        }
        before += examples;
        firstRow += rows;
      }
      return out;
    },
  };
}
