// What training will see: rendered rows coloured by mask, what is trained and lost, and how long it will take in steps.

import { resolve } from "node:path";
import type { Example, Tokenizer } from "@tunesmith/data";
import { nodeFiles } from "@tunesmith/node";
import { presetLines } from "../config/presets.ts";
import { type ConfiguredRun, loadRuns } from "../config/stages.ts";
import type { Context, Outcome } from "../context.ts";
import type { Options } from "../flags.ts";
import { warnings } from "../curation.ts";
import { inspectHtml } from "../inspect-html.ts";
import { maskWarnings } from "../mask-proof.ts";
import { loadRunData, maskReport } from "../run-data.ts";
import { perStage, planned } from "../stages/planned.ts";

/** A run of tokens that are trained alike. */
export interface Segment {
  readonly text: string;
  readonly trained: boolean;
  /** how much each target counts; 0 for context */
  readonly weight: number;
  readonly tokens: number;
}

/** One training example as text. */
export interface Sample {
  readonly task: string;
  /** which row of the dataset, from 0, over all files */
  readonly row: number;
  readonly tokens: number;
  readonly targets: number;
  readonly segments: readonly Segment[];
}

const DEFAULT_ROWS = 3;

export async function run(
  [path]: readonly string[],
  options: Options<"set" | "rows" | "html">,
  context: Context,
): Promise<Outcome> {
  const files = nodeFiles();
  const runs = await loadRuns(path!, { cwd: context.cwd, sets: options.set });
  return perStage(await planned(runs, files, context), (run) => inspectRun(run, options, context));
}

async function inspectRun(
  loaded: ConfiguredRun,
  options: Options<"rows" | "html">,
  context: Context,
): Promise<Outcome> {
  const files = nodeFiles();
  for (const line of presetLines(loaded.config.preset, loaded.choices)) context.say(line);
  const data = await loadRunData(loaded, { files, now: new Date() });
  const samples: Sample[] = [];
  for (const example of data.train.slice(0, options.rows ?? DEFAULT_ROWS))
    samples.push(await sampleOf(example, data.tokenizer));
  const report = maskReport(data);
  const { totalSteps, stepsPerEpoch } = data.schedule;
  const document = {
    samples,
    mask_report: report,
    warnings: [...warnings(data), ...maskWarnings(data)],
    gates: { max_lost: { limit: loaded.config.gates.max_lost, value: report.lost.share, ok: true } }, // a share beyond it has thrown
    objective: data.objective,
    steps: totalSteps,
    steps_per_epoch: stepsPerEpoch,
    eval_rows: data.evaluation?.length ?? 0,
    test_rows: data.test?.length ?? 0,
  };
  if (options.html !== undefined) {
    const html = inspectHtml(samples, report);
    // of stages a page each: x.html becomes x.NAME.html
    const path = loaded.stage ? options.html.replace(/(\.\w+)?$/, `.${loaded.stage.name}$1`) : options.html;
    await files.writeAtomic(resolve(context.cwd, path), [new TextEncoder().encode(html)]);
  }
  return { document, text: textOf(document) };
}

/** Token t is trained where position t − 1 has a target: targets were shifted when the row was tokenized. */
async function sampleOf(example: Example, tokenizer: Tokenizer): Promise<Sample> {
  const { inputIds, targetWeights, task, row } = example;
  const weight = (t: number): number => (t === 0 ? 0 : targetWeights[t - 1]!);
  const segments: Segment[] = [];
  let from = 0;
  let before = "";
  for (let t = 1; t <= inputIds.length; t++) {
    if (t < inputIds.length && weight(t) === weight(from)) continue;
    // a decoder drops the space that a text begins with, so a part is what the whole gains by it
    const whole = await tokenizer.decode(inputIds.subarray(0, t), { skipSpecialTokens: false });
    const alone = (): Promise<string> => tokenizer.decode(inputIds.subarray(from, t), { skipSpecialTokens: false });
    const text = whole.startsWith(before) ? whole.slice(before.length) : await alone();
    segments.push({ text, trained: weight(from) > 0, weight: weight(from), tokens: t - from });
    before = whole;
    from = t;
  }
  const trainedTokens = segments.filter((s) => s.trained).reduce((sum, s) => sum + s.tokens, 0);
  return { task, row, tokens: inputIds.length, targets: trainedTokens, segments };
}

const GREEN = "\u001b[32m";
const YELLOW = "\u001b[33m"; // trained with a weight of its own
const PLAIN = "\u001b[0m";

function textOf(document: {
  samples: readonly Sample[];
  mask_report: ReturnType<typeof maskReport>;
  warnings: readonly string[];
  objective: string;
  steps: number;
  steps_per_epoch: number;
  eval_rows: number;
  test_rows: number;
}): string {
  const { samples, mask_report: report, objective, steps } = document;
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  const shown = samples.map(
    (sample) =>
      `row ${sample.row}, task ${sample.task}, ${sample.targets} of ${sample.tokens} tokens trained (green)\n${sample.segments
        .map(({ text, trained, weight }) =>
          trained ? `${weight === 1 ? GREEN : YELLOW}${text}${weight === 1 ? "" : ` ×${weight}`}${PLAIN}` : text,
        )
        .join("")}\n`,
  );
  const tasks = Object.entries(report.tasks).map(
    ([name, task]) =>
      `  ${name}: ${task.examples} examples (${percent(task.example_share)}), ${task.tokens} tokens (${percent(task.token_share)}), ${task.targets} targets (${percent(task.target_share)})`,
  );
  return [
    ...shown,
    `${report.examples} examples, ${report.tokens} tokens, of which ${percent(report.target_share)} are trained; longest ${report.longest} of ${report.max_length}`,
    `${percent(report.ends.share)} of the examples train an end of generation`,
    ...tasks,
    ...document.warnings.map((warning) => `warning: ${warning}`),
    `lost: ${report.lost.rows} of ${report.lost.of_rows} rows, ${report.lost.tokens} of ${report.lost.of_tokens} tokens`,
    `${document.eval_rows} rows for evaluation, ${document.test_rows} for the test at the end`,
    `${steps} steps, ${document.steps_per_epoch} per epoch, objective ${objective}`,
  ].join("\n");
}
