/**
 * Instruction data to token batches with provably right loss masks: formats, chat templates, mixing, packing.
 * CPU only; runs in Node and in browsers.
 *
 * @packageDocumentation
 */
export { type Batch, type BatchOptions, makeBatch } from "./batch/batch.ts";
export { type Objective, OBJECTIVES, targetScale, type TaskCounts, taskCounts } from "./batch/target-scale.ts";
export { type ChatTemplates, loadChatTemplates, templateFor } from "./chat-template/load.ts";
export {
  assistantSpans,
  type MessageSpan,
  renderConversation,
  type SpanInput,
} from "./chat-template/assistant-spans.ts";
export { type ChatTemplate, compileTemplate, type RenderInput, type Span } from "./chat-template/template.ts";
export { type DataEntry, type Dataset, type DatasetOptions, loadDataset } from "./dataset/dataset.ts";
export { checkLosses, type EntryReport, type Losses, lossesOf } from "./dataset/report.ts";
export { checkSplitSources, type Split, splitExamples } from "./dataset/split.ts";
export { type EntryTasks, resolveTasks, type Task, type TaskSettings } from "./dataset/tasks.ts";
export { DataError, type DataErrorCode } from "./errors.ts";
export type { RowAt } from "./formats/columns.ts";
export { detectFormat, type Format, formatByName, FORMATS, readRow } from "./formats/formats.ts";
export {
  type CompletionRow,
  type ConversationRow,
  type Message,
  type Role,
  ROLES,
  type Row,
  type TextRow,
  type TokensRow,
} from "./formats/row.ts";
export { permute, type PermutationKey } from "./mixture/feistel.ts";
export {
  checkContamination,
  CONTAMINATION,
  type ContaminationReport,
  curate,
  type Curated,
  type CurateOptions,
  DUPLICATES,
  NEAR_DUPLICATES,
  type Repeats,
} from "./quality/curate.ts";
export { createSchedule, type Schedule, type ScheduleOptions } from "./mixture/schedule.ts";
export { type MixtureTask, SAMPLING, type Sampling, samplingWeights, type WeightChange } from "./mixture/weights.ts";
export { type JsonLine, type Line, readJsonl, readLines } from "./readers/jsonl.ts";
export { countTargets, type Example, IGNORED, shiftLabels } from "./tokenize/example.ts";
export { labelWeights, type WeightedSpan } from "./tokenize/label-weights.ts";
export { type Overlong, OVERLONG, type Piece, type TokenizedRow } from "./tokenize/fit.ts";
export { TRAIN_ON, type TokenizeOptions, tokenizeRow, type TrainOn } from "./tokenize/tokenize-row.ts";
export { readTokenizerFolder, type TokenizerFolder } from "./tokenizer/model-folder.ts";
export { codePointStarts, spansInCodePoints } from "./tokenizer/offsets.ts";
export type { Encoding, SpecialTokens, Tokenizer } from "./tokenizer/tokenizer.ts";
