// Log-probabilities of every token of every row, in the shapes of Hugging Face: what a parity check, a reward model or a
// preference method starts from.

import { resolve } from "node:path";
import { type Example, IGNORED, makeBatch } from "@tunesmith/data";
import { nodeFiles } from "@tunesmith/node";
import { ScorePrograms } from "@tunesmith/sft";
import type { Context, Outcome } from "../context.ts";
import { openGpu } from "../device.ts";
import type { Options } from "../flags.ts";
import { loadRows, readModelFacts } from "../rows.ts";
import { loadReadyModel } from "../tuned-model.ts";

const BATCH_SIZE = 8;

/** One line of the file. */
interface Line {
  /** row of the data file, from 0 */
  readonly row: number;
  readonly input_ids: readonly number[];
  /** unshifted: −100 = not a target */
  readonly labels: readonly number[];
  /** [T − 1]: log p(input_ids[t + 1] | input_ids[..t]), nats */
  readonly logprobs: readonly number[];
  /** mean over the row's targets, nats */
  readonly loss: number;
}

export async function run(
  _: readonly string[],
  options: Options<"model" | "adapter" | "data" | "format" | "out">,
  context: Context,
): Promise<Outcome> {
  const files = nodeFiles();
  const at = (path: string): string => resolve(context.cwd, path);
  const paths = { model: at(options.model!), adapter: options.adapter === undefined ? undefined : at(options.adapter) };
  const facts = await readModelFacts(files, paths);
  const positions = facts.config.maxPositions;
  const { examples, reports } = await loadRows(files, facts, {
    data: at(options.data!),
    format: options.format,
    chatTemplate: "auto",
    trainOn: "assistant",
    maxLength: positions,
  });
  const longest = examples.reduce((most, example) => Math.max(most, example.inputIds.length), 1);
  const device = await openGpu(context);
  const { model, adapter } = await loadReadyModel(device, files, { ...paths, positions: longest });
  const programs = new ScorePrograms({ model, adapter });
  const out = at(options.out!);
  let rows = 0;
  async function* lines(): AsyncGenerator<Uint8Array, void, undefined> {
    for (let first = 0; first < examples.length; first += BATCH_SIZE) {
      for (const line of await score(programs, examples.slice(first, first + BATCH_SIZE))) {
        rows++;
        yield new TextEncoder().encode(`${JSON.stringify(line)}\n`);
      }
    }
  }
  try {
    await files.writeAtomic(out, lines());
  } finally {
    programs.dispose();
  }
  const without = reports.reduce((sum, report) => sum + report.rowsWithoutTargets, 0);
  if (without > 0) context.say(`${without} rows have no target and no line`);
  return { document: { out, rows, rows_without_targets: without }, text: `${rows} lines in ${out}` };
}

/** All examples in one pass, every position with the token that follows as its target. */
async function score(programs: ScorePrograms, examples: readonly Example[]): Promise<Line[]> {
  const tasks = [...new Set(examples.map((example) => example.task))];
  const batch = makeBatch(examples, { packing: true, tasks });
  const targets = new Int32Array(batch.inputIds.length).fill(IGNORED);
  for (let t = 0; t + 1 < targets.length; t++)
    if (batch.segmentIds[t]! >= 0 && batch.segmentIds[t] === batch.segmentIds[t + 1])
      targets[t] = batch.inputIds[t + 1]!;
  const { logProbs } = await programs.score({ ...batch, targets });
  let from = 0;
  return examples.map(({ row, inputIds, targets: trained }) => {
    const own = logProbs.subarray(from, from + inputIds.length);
    from += inputIds.length;
    const labels = Array.from(inputIds, (_, t) => (t === 0 ? IGNORED : trained[t - 1]!));
    const losses = [...trained].flatMap((target, t) => (target === IGNORED ? [] : [-own[t]!]));
    return {
      row,
      input_ids: [...inputIds],
      labels,
      logprobs: [...own.subarray(0, -1)],
      loss: losses.reduce((sum, loss) => sum + loss, 0) / losses.length,
    };
  });
}
