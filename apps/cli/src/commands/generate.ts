// Continues prompts: one on the command line, or every row of a file.

import { resolve } from "node:path";
import { type Generated, Generator } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import type { Context, Outcome } from "../context.ts";
import { openGpu } from "../device.ts";
import { CliError } from "../errors.ts";
import type { Options } from "../flags.ts";
import { templateSpec } from "../template-spec.ts";
import { promptReader } from "../prompts.ts";
import { readModelFacts } from "../rows.ts";
import { loadReadyModel } from "../tuned-model.ts";

type Flags =
  | "model"
  | "adapter"
  | "prompt"
  | "messages"
  | "data"
  | "out"
  | "n"
  | "max-new-tokens"
  | "temperature"
  | "top-k"
  | "top-p"
  | "repetition-penalty"
  | "seed"
  | "chat-template";

const MAX_NEW_TOKENS = 256;

export async function run(_: readonly string[], options: Options<Flags>, context: Context): Promise<Outcome> {
  checkFlags(options);
  const files = nodeFiles();
  const at = (path: string): string => resolve(context.cwd, path);
  const paths = { model: at(options.model!), adapter: options.adapter === undefined ? undefined : at(options.adapter) };
  const facts = await readModelFacts(files, paths);
  const { tokenizer } = facts;
  const reader = await promptReader(files, facts, {
    chatTemplate: templateSpec(options.chatTemplate, context.cwd),
    now: new Date(),
  });
  const prompts =
    options.data !== undefined
      ? await reader.rows(at(options.data))
      : [await (options.prompt === undefined ? reader.messages(at(options.messages!)) : reader.text(options.prompt))];
  const samples = options.n ?? 1;
  const maxNewTokens = options.maxNewTokens ?? MAX_NEW_TOKENS;
  const longest = prompts.reduce((most, prompt) => Math.max(most, prompt.length), 1);

  const device = await openGpu(context);
  const positions = Math.min(facts.config.maxPositions, longest + maxNewTokens);
  const { model, adapter } = await loadReadyModel(device, files, { ...paths, positions });
  const generator = new Generator(model, adapter);
  const answers = await generator.generate(
    prompts.flatMap((prompt) => Array<Int32Array>(samples).fill(prompt)),
    {
      maxNewTokens,
      temperature: options.temperature ?? 0,
      topK: options.topK ?? 0,
      topP: options.topP ?? 1,
      repetitionPenalty: options.repetitionPenalty ?? 1,
      seed: options.seed ?? 0,
      stopIds: tokenizer.special.eosIds,
      signal: context.signal,
    },
  );
  generator.dispose();
  const describe = async ({
    ids,
    finishReason,
  }: Generated): Promise<{ text: string; ids: readonly number[]; finish_reason: string }> => ({
    text: await tokenizer.decode(ids, { skipSpecialTokens: true }),
    ids,
    finish_reason: finishReason,
  });
  if (options.out === undefined) {
    const document = await describe(answers[0]!);
    return { document, text: document.text };
  }
  const lines: string[] = [];
  for (const [i, answer] of answers.entries())
    lines.push(
      `${JSON.stringify({ row: Math.floor(i / samples), sample: i % samples, ...(await describe(answer)) })}\n`,
    );
  const out = at(options.out);
  await files.writeAtomic(out, [new TextEncoder().encode(lines.join(""))]);
  return { document: { out, rows: prompts.length, lines: lines.length }, text: `${lines.length} lines in ${out}` };
}

function checkFlags({ data, out, n }: Options<Flags>): void {
  if ((data === undefined) !== (out === undefined))
    throw new CliError("FLAG_CONFLICT", "--data and --out belong together: answers to rows go to a file", {
      fix: data === undefined ? "leave out --out, or give --data FILE" : "give --out FILE",
    });
  if (n !== undefined && data === undefined)
    throw new CliError("FLAG_CONFLICT", "--n is for rows of a file: one prompt gets one answer", {
      fix: "leave out --n, or give --data FILE --out FILE",
    });
}
