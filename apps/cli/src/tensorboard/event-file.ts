// The run's TensorBoard file: a record per line of metrics.jsonl behind one that says the version. A resumed run keeps as many
// records as it keeps lines; what is missing or damaged is made again from the lines.

import type { Files } from "@tunesmith/core";
import type { NodeFiles } from "@tunesmith/node";
import { encodeEvent, FILE_VERSION, type TensorBoardEvent } from "./event.ts";
import { scalarsOf } from "./scalars.ts";
import { frameRecord, recordEnds } from "./tf-record.ts";

/** TensorBoard reads files whose name says `tfevents`. */
export const EVENT_FILE = "events.out.tfevents.tunesmith";

export interface EventFile {
  /** Adds what a line of metrics.jsonl says. */
  add(line: object): Promise<void>;
  close(): Promise<void>;
}

/**
 * @param options.lines - of metrics.jsonl, as they are now; empty for a new run
 * @param options.now - milliseconds since 1970
 */
export async function openEventFile(
  files: NodeFiles,
  path: string,
  { lines, now }: { lines: readonly string[]; now: () => number },
): Promise<EventFile> {
  const record = (event: Omit<TensorBoardEvent, "wallTime">): Uint8Array<ArrayBuffer> =>
    frameRecord(encodeEvent({ wallTime: now() / 1000, ...event }));
  const ofLine = (line: object): Uint8Array<ArrayBuffer> =>
    record({ step: (line as { step: number }).step, scalars: scalarsOf(line as Record<string, unknown>) });
  const old = await readWhole(files, path);
  const ends = recordEnds(old).slice(0, 1 + lines.length);
  const missing = lines.slice(Math.max(0, ends.length - 1)).map((line) => ofLine(JSON.parse(line) as object));
  await files.writeAtomic(path, [
    ends.length === 0 ? record({ fileVersion: FILE_VERSION }) : old.subarray(0, ends.at(-1)),
    ...missing,
  ]);
  const file = await files.append(path);
  return {
    add: (line) => file.write(ofLine(line)),
    close: () => file.close(),
  };
}

async function readWhole(files: Files, path: string): Promise<Uint8Array<ArrayBuffer>> {
  if (!(await files.exists(path))) return new Uint8Array(0);
  const source = await files.open(path);
  try {
    return new Uint8Array(await source.read(0, source.size));
  } finally {
    await source.close();
  }
}
