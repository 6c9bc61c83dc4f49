/**
 * tunesmith on Node: Dawn devices, files and Hugging Face tokenizers.
 *
 * @packageDocumentation
 */
export { dawnFlags, NodeError, openDevice } from "./device.ts";
export type { NodeErrorCode, OpenOptions } from "./device.ts";
export { settled } from "./settled.ts";
export type { Disk, DiskFile } from "./disk.ts";
export { type NodeFiles, nodeFiles } from "./files.ts";
export type { AppendFile } from "./write-files.ts";
export { loadTokenizer } from "./tokenizer.ts";
export { openTokenizeWorkers, type TokenizeWorkers } from "./tokenize-workers.ts";
