// `sample`: prompts that a run continues at chosen steps, and the files of what came out.

import type { Files } from "@tunesmith/core";
import { DataError, type Tokenizer } from "@tunesmith/data";
import type { ModelConfig } from "@tunesmith/models";
import { readText, type SampleEvent, type TrainOptions } from "@tunesmith/sft";
import type { ResolvedConfig } from "./config/load.ts";
import type { Context } from "./context.ts";
import { promptReader } from "./prompts.ts";
import type { RunFolder } from "./run-folder.ts";
import type { SampleLine } from "./run-report.ts";

const FOLDER = "samples";

type Prompts = readonly Int32Array[];

/**
 * Reads the prompts of a config.
 * @throws DataError `TASK_EMPTY` without any, `ROW_TOO_LONG` for one that leaves no position to generate
 */
export async function readSamplePrompts(
  files: Files,
  { sample, model, data }: ResolvedConfig,
  facts: { tokenizer: Tokenizer; modelConfig: ModelConfig; now: Date },
): Promise<Prompts | undefined> {
  if (sample === undefined) return undefined;
  const { path } = sample;
  const reader = await promptReader(
    files,
    { tokenizer: facts.tokenizer, config: facts.modelConfig, templateFolder: model },
    { chatTemplate: data.chat_template, now: facts.now },
  );
  const prompts = await reader.rows(path);
  if (prompts.length === 0)
    throw new DataError("TASK_EMPTY", `${path}: the file has no rows`, { path, fix: "add prompts, or remove sample" });
  const { maxPositions } = facts.modelConfig;
  const bad = prompts.findIndex(({ length }) => length === 0 || length >= maxPositions);
  if (bad >= 0)
    throw new DataError("ROW_TOO_LONG", `${path}: prompt ${bad} has ${prompts[bad]!.length} tokens`, {
      path,
      received: `${prompts[bad]!.length} tokens`,
      expected: `1 … ${maxPositions - 1} tokens`,
      fix: "correct this row",
    });
  return prompts;
}

/** Positions that the model needs for them. */
export function samplePositions(prompts: Prompts, { sample }: ResolvedConfig, { maxPositions }: ModelConfig): number {
  const longest = Math.max(...prompts.map(({ length }) => length));
  return Math.min(maxPositions, longest + sample!.max_new_tokens);
}

/** What `train` is told. */
export function samplingOf(
  { sample, seed }: ResolvedConfig,
  { samplePrompts, tokenizer }: { samplePrompts: Prompts | undefined; tokenizer: Tokenizer },
): TrainOptions["sampling"] {
  if (sample === undefined || samplePrompts === undefined) return undefined;
  const { every, steps, max_new_tokens: maxNewTokens, temperature } = sample;
  return {
    prompts: samplePrompts,
    maxNewTokens,
    temperature,
    topK: 0,
    topP: 1,
    repetitionPenalty: 1,
    seed,
    stopIds: tokenizer.special.eosIds,
    at: (step) => steps?.includes(step) ?? (every !== undefined && step % every === 0),
  };
}

/** What the first and the last file of a run say; nothing where it draws none. */
export async function firstAndLastSamples(files: Files, run: string): Promise<SampleLine[][]> {
  const folder = files.join(run, FOLDER);
  if (!(await files.exists(folder))) return [];
  const stepOf = (name: string): number => Number(/^step-(\d+)\.jsonl$/.exec(name)?.[1] ?? -1);
  const names = (await files.list(folder))
    .filter((name) => stepOf(name) >= 0)
    .toSorted((a, b) => stepOf(a) - stepOf(b));
  const shown = [...new Set([...names.slice(0, 1), ...names.slice(-1)])];
  const texts = await Promise.all(shown.map((name) => readText(files, files.join(folder, name))));
  return texts.map((text) =>
    text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as SampleLine),
  );
}

/** Writes `samples/step-N.jsonl`, and tells a person the first. */
export function sampleFiles(
  folder: Pick<RunFolder, "writeText">,
  { samplePrompts = [], tokenizer }: { samplePrompts: Prompts | undefined; tokenizer: Tokenizer },
  { say }: Pick<Context, "say">,
): { sample(event: SampleEvent): Promise<void> } {
  return {
    sample: async ({ step, samples }) => {
      const lines: string[] = [];
      for (const [row, { ids, finishReason }] of samples.entries()) {
        const prompt = await tokenizer.decode([...samplePrompts[row]!], { skipSpecialTokens: false });
        const text = await tokenizer.decode(ids, { skipSpecialTokens: true });
        lines.push(JSON.stringify({ format_version: 1, step, row, prompt, text, ids, finish_reason: finishReason }));
        if (row === 0) say(`step ${step}  sample ${JSON.stringify(text)}`);
      }
      await folder.writeText(`${FOLDER}/step-${step}.jsonl`, lines.map((line) => `${line}\n`).join(""));
    },
  };
}
