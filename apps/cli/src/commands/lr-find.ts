// A learning rate for a config, by trying them all once.

import { resolve } from "node:path";
import { nodeFiles } from "@tunesmith/node";
import { loadRuns } from "../config/stages.ts";
import type { Context, Outcome } from "../context.ts";
import { withBase } from "../computed-start.ts";
import { openGpu } from "../device.ts";
import { CliError } from "../errors.ts";
import type { Options } from "../flags.ts";
import { lineChart } from "../html/line-chart.ts";
import { htmlPage, htmlTable } from "../html/page.ts";
import { escapeHtml } from "../html/escape.ts";
import { findRate, type RateRangeDocument } from "../rate-range-run.ts";
import { setsOf } from "./train.ts";

const FROM = 1e-6;
const TO = 1;
const STEPS = 100;
/** Lines of the table that a person sees. */
const ROWS = 12;

export async function run(
  [path]: readonly string[],
  options: Options<"set" | "memory-budget" | "from" | "to" | "steps" | "html">,
  context: Context,
): Promise<Outcome> {
  const range = { from: options.from ?? FROM, to: options.to ?? TO, steps: options.steps ?? STEPS };
  if (range.from >= range.to)
    throw new CliError("FLAG_CONFLICT", `--from is ${range.from} and --to is ${range.to}: the rate has to grow`, {
      fix: "give --from below --to",
    });
  const files = nodeFiles();
  const [written] = await loadRuns(path!, { cwd: context.cwd, sets: setsOf(options) });
  if (written.stage)
    context.say(`of the stages the first is tested, ${written.stage.name}: what others start from is not there yet`);
  const loaded = await withBase(written, files, context);
  const device = await openGpu(context);
  const document = await findRate(loaded, range, { context, device });
  if (options.html !== undefined)
    await files.writeAtomic(resolve(context.cwd, options.html), [new TextEncoder().encode(pageOf(document))]);
  return { document, text: textOf(document) };
}

function textOf({ points, suggested, reason }: RateRangeDocument): string {
  const every = Math.max(1, Math.ceil(points.length / ROWS));
  const shown = points.filter((_, i) => i % every === 0 || i === points.length - 1);
  return [
    "      rate  change of the loss",
    ...shown.map(({ rate, smoothed }) => `${rate.toExponential(2).padStart(10)}  ${signed(smoothed).padStart(8)}`),
    `learning rate: ${suggested ?? "none"}; ${reason}`,
  ].join("\n");
}

function pageOf({ points, suggested, reason, ended }: RateRangeDocument): string {
  const chart = lineChart({
    title: "Change of the loss against the untouched weights, on the same rows",
    x: "learning rate",
    y: "nats",
    logX: true,
    curves: [
      { name: "running average", points: points.map(({ rate, smoothed }) => [rate, smoothed]) },
      { name: "each update", points: points.map(({ rate, change }) => [rate, change]), faint: true },
    ],
    ...(suggested === null ? {} : { mark: { x: suggested, text: String(suggested) } }),
  });
  return htmlPage("tunesmith lr-find", [
    "<h1>Learning-rate range test</h1>",
    `<p><b>${suggested === null ? "No suggestion" : `Suggested: ${suggested}`}</b>: ${escapeHtml(reason)}. Ended: ${ended}.</p>`,
    chart,
    htmlTable(
      ["step", "rate", "loss", "untouched", "change", "average"],
      points.map((p) => [p.step, p.rate, p.loss, p.start_loss, p.change, p.smoothed]),
    ),
  ]);
}

function signed(value: number): string {
  return `${value < 0 ? "" : "+"}${value.toFixed(4)}`;
}
