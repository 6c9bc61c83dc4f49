/**
 * Instruction data to token batches with provably right loss masks: formats, chat templates, mixing, packing.
 * CPU only; runs in Node and in browsers.
 *
 * @packageDocumentation
 */
export { type Batch, type BatchOptions, makeBatch } from "./batch/batch.ts";
export { type Objective, OBJECTIVES, targetScale, type TaskCounts, taskCounts } from "./batch/target-scale.ts";
export { BUILT_IN_TEMPLATES, builtInTokens, type BuiltInTemplate } from "./chat-template/built-in.ts";
export { type ChatTemplates, loadChatTemplates, templateFor } from "./chat-template/load.ts";
export {
  assistantSpans,
  type MessageSpan,
  renderConversation,
  type SpanInput,
} from "./chat-template/assistant-spans.ts";
export { type ChatTemplate, compileTemplate, type RenderInput, type Span } from "./chat-template/template.ts";
export { type DataEntry, type Dataset, type DatasetOptions, loadDataset, prepareDataset } from "./dataset/dataset.ts";
export type { PreparedReport } from "./dataset/data-file.ts";
export { type RowCounts, type SkippedRows, type TokenChunk } from "./dataset/chunk.ts";
export { checkLosses, type EntryReport, type Losses, lossesOf, skippedRows } from "./dataset/report.ts";
export { checkSplitSources, type Split, splitExamples } from "./dataset/split.ts";
export {
  type BatchJob,
  ON_BAD_ROW,
  type OnBadRow,
  tokenizeBatch,
  type TokenizeBatch,
} from "./dataset/tokenize-batch.ts";
export { type EntryTasks, resolveTasks, type Task, type TaskSettings } from "./dataset/tasks.ts";
export { DataError, type DataErrorCode } from "./errors.ts";

export {
  createRowReader,
  detectFormat,
  type Format,
  formatByName,
  FORMATS,
  readRow,
  type RowOptions,
  type RowReader,
} from "./formats/formats.ts";
export type { ColumnMap } from "./formats/map-columns.ts";
export { readMessages } from "./formats/messages.ts";
export { type OasstOptions, type Threads, THREADS } from "./formats/oasst.ts";
export {
  type CompletionRow,
  type ConversationRow,
  type Message,
  type PreferenceRow,
  type Role,
  ROLES,
  type Row,
  type TextRow,
  type ThreadsRow,
  type TokensRow,
} from "./formats/row.ts";
export { permute, type PermutationKey } from "./mixture/feistel.ts";
export { hashFile, sha256 } from "./prepared/key.ts";
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
export type { Manifest, ManifestShard } from "./prepared/prepare.ts";
export { openPrepared, type PreparedRows } from "./prepared/read-prepared.ts";
export { expandPaths } from "./readers/paths.ts";
export { placeDetails, placeText, type RowAt } from "./readers/place.ts";
export { parseRow, type RawRow } from "./readers/raw-row.ts";
export {
  FILE_FORMATS,
  type FileFormat,
  readRawRows,
  type ReadOptions,
  type ReadRow,
  readRows,
} from "./readers/read-rows.ts";
export { SAMPLE_BY, type SampleBy } from "./readers/text.ts";
export { countTargets, type Example, IGNORED, shiftLabels } from "./tokenize/example.ts";
export { labelWeights, type WeightedSpan } from "./tokenize/label-weights.ts";
export { type Overlong, OVERLONG, type Piece, type TokenizedRow } from "./tokenize/fit.ts";
export { TRAIN_ON, type TokenizeOptions, tokenizeRow, type TrainOn } from "./tokenize/tokenize-row.ts";
export { addSpecialTokens, type AddedTokens, type TokenizerTexts } from "./tokenizer/add-tokens.ts";
export { readTokenizerFolder, type TokenizerFolder } from "./tokenizer/model-folder.ts";
export { codePointStarts, spansInCodePoints } from "./tokenizer/offsets.ts";
export type { Encoding, SpecialTokens, Tokenizer } from "./tokenizer/tokenizer.ts";
