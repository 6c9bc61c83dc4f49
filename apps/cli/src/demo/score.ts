// Exact match of generated answers on held-out prompts.

import { loadChatTemplates, type Tokenizer } from "@tunesmith/data";
import type { Instruction } from "@tunesmith/demo";
import type { Files } from "@tunesmith/core";
import { Generator } from "@tunesmith/models";
import type { ReadyModel } from "../tuned-model.ts";

/** Longer than every right answer, so that a wrong one may run on a little. */
const MAX_NEW_TOKENS = 24;

/** A prompt with what the model made of it. */
export interface Answered extends Instruction {
  readonly given: string;
}

/** Answers every prompt greedily, through the model's own chat template. */
export async function answerAll(
  prompts: readonly Instruction[],
  { model, adapter, tokenizer, files, folder }: ReadyModel & { tokenizer: Tokenizer; files: Files; folder: string },
): Promise<Answered[]> {
  const templates = await loadChatTemplates(files, { folder, spec: "auto" });
  const { bosToken, eosToken, padToken, eosIds } = tokenizer.special;
  const ids: Int32Array[] = [];
  for (const { prompt } of prompts) {
    const text = templates!.default.render({
      messages: [{ role: "user", content: prompt }],
      tools: undefined,
      addGenerationPrompt: true,
      bosToken,
      eosToken,
      padToken,
      now: new Date(0),
    });
    ids.push((await tokenizer.encode(text, { addSpecialTokens: false })).ids);
  }
  const generator = new Generator(model, adapter);
  try {
    const rows = await generator.generate(ids, {
      maxNewTokens: MAX_NEW_TOKENS,
      stopIds: eosIds,
      seed: 0,
      temperature: 0,
      topK: 0,
      topP: 1,
      repetitionPenalty: 1,
    });
    return await Promise.all(
      prompts.map(async (prompt, i) => ({
        ...prompt,
        given: (await tokenizer.decode(rows[i]!.ids, { skipSpecialTokens: true })).trim(),
      })),
    );
  } finally {
    generator.dispose();
  }
}

/** Share of exact matches per task, 0–1. */
export function exactMatch(answers: readonly Answered[]): Map<string, number> {
  const byTask = new Map<string, { right: number; all: number }>();
  for (const { task, answer, given } of answers) {
    const count = byTask.get(task) ?? { right: 0, all: 0 };
    byTask.set(task, { right: count.right + (given === answer ? 1 : 0), all: count.all + 1 });
  }
  return new Map([...byTask].map(([task, { right, all }]) => [task, right / all]));
}
