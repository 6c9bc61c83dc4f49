// Batches of rows tokenized in worker threads. What comes back does not depend on their number.

import { Worker } from "node:worker_threads";
import { BugError } from "@tunesmith/core";
import type { TokenChunk, TokenizeBatch } from "@tunesmith/data";
import { type BatchRequest, type BatchResponse, errorOf, plainRows, type WorkerStart } from "./tokenize-protocol.ts";

/** Open workers: `DatasetOptions.workers` takes them as they are. */
export interface TokenizeWorkers {
  readonly tokenize: TokenizeBatch;
  /** batches that keep all of them busy */
  readonly parallel: number;
  close(): Promise<void>;
}

/** One at work and one waiting, so that a worker never waits for the main thread. */
const BATCHES_PER_WORKER = 2;

interface Pending {
  readonly resolve: (chunk: TokenChunk) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Starts worker threads. Only the compiled package can: a thread loads no TypeScript.
 *
 * @param options.folder - model folder with the tokenizer; each worker loads its own
 * @param options.threads - ≥ 1
 */
export function openTokenizeWorkers({ folder, threads }: { folder: string; threads: number }): TokenizeWorkers {
  const start: WorkerStart = { folder };
  const workers = Array.from({ length: threads }, () => openWorker(start));
  return {
    parallel: BATCHES_PER_WORKER * threads,
    tokenize: (rows, job) => {
      const free = workers.reduce((best, worker) => (worker.pending.size < best.pending.size ? worker : best));
      return free.send(plainRows(rows), job);
    },
    close: async () => {
      for (const worker of workers) await worker.close();
    },
  };
}

function openWorker(start: WorkerStart): {
  readonly pending: ReadonlyMap<number, Pending>;
  send(rows: BatchRequest["rows"], job: BatchRequest["job"]): Promise<TokenChunk>;
  close(): Promise<void>;
} {
  const worker = new Worker(new URL("./tokenize-worker.js", import.meta.url), { workerData: start });
  const pending = new Map<number, Pending>();
  let next = 0;
  let ended: Error | undefined;
  const end = (error: Error): void => {
    ended ??= error;
    for (const { reject } of pending.values()) reject(ended);
    pending.clear();
  };
  worker.on("message", (response: BatchResponse) => {
    const { resolve, reject } = pending.get(response.id)!;
    pending.delete(response.id);
    if ("chunk" in response) resolve(response.chunk);
    else reject("error" in response ? errorOf(response.error) : response.thrown);
  });
  worker.on("error", (cause: Error) => end(new BugError(`a tokenizing thread failed: ${cause.message}`, { cause })));
  worker.on("exit", (code) => end(new BugError(`a tokenizing thread ended with code ${code}`)));
  return {
    pending,
    send: (rows, job) => {
      if (ended !== undefined) return Promise.reject(ended);
      const request: BatchRequest = { id: next++, rows, job };
      return new Promise((resolve, reject) => {
        pending.set(request.id, { resolve, reject });
        worker.postMessage(request, []);
      });
    },
    close: async () => {
      await worker.terminate();
    },
  };
}
