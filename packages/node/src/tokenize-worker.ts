// A worker thread that renders, encodes and masks batches of rows with a tokenizer and templates of its own.

import { parentPort, workerData } from "node:worker_threads";
import { type ChatTemplates, loadChatTemplates, tokenizeBatch } from "@tunesmith/data";
import { nodeFiles } from "./files.ts";
import { type BatchRequest, type BatchResponse, failure, rowsOf, type WorkerStart } from "./tokenize-protocol.ts";
import { loadTokenizer } from "./tokenizer.ts";

const port = parentPort!;
const files = nodeFiles();
const tokenizer = loadTokenizer(files, (workerData as WorkerStart).folder);
tokenizer.catch(() => {}); // told to whoever sends a batch

const templates = new Map<string, Promise<ChatTemplates | undefined>>();
function templatesOf(folder: string, spec: string): Promise<ChatTemplates | undefined> {
  const key = JSON.stringify([folder, spec]);
  const found = templates.get(key) ?? loadChatTemplates(files, { folder, spec });
  templates.set(key, found);
  return found;
}

port.on("message", ({ id, rows, job }: BatchRequest) => {
  const work = async (): Promise<BatchResponse> => {
    const tools = { tokenizer: await tokenizer, templates: await templatesOf(job.folder, job.chatTemplate) };
    return { id, chunk: await tokenizeBatch(rowsOf(rows), job, tools) };
  };
  void work()
    .catch((error: unknown) => failure(id, error))
    .then((response) => {
      const chunk = "chunk" in response ? response.chunk : undefined;
      const buffers = Object.values(chunk ?? {}).flatMap((value) => (ArrayBuffer.isView(value) ? [value.buffer] : []));
      port.postMessage(response, buffers as ArrayBuffer[]);
    });
});
