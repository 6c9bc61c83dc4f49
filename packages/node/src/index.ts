/**
 * tunesmith on Node: Dawn devices, files and Hugging Face tokenizers.
 *
 * @packageDocumentation
 */
export { dawnFlags, NodeError, openDevice } from "./device.ts";
export type { NodeErrorCode, OpenOptions } from "./device.ts";
export { settled } from "./settled.ts";
export { nodeFiles } from "./files.ts";
export { loadTokenizer } from "./tokenizer.ts";
export { openTokenizeWorkers, type TokenizeWorkers } from "./tokenize-workers.ts";
