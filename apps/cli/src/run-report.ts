// report.html: what a run did, for a person, from what it has logged. It holds no times, so a run that was stopped and went on
// has the same report as one that was not.

import type { EvalEvent, EvalResult, ProbeEvent, StepEvent } from "@tunesmith/sft";
import { bytesText } from "./bytes.ts";
import { escapeHtml } from "./html/escape.ts";
import { type Curve, lineChart } from "./html/line-chart.ts";
import { htmlPage, htmlTable } from "./html/page.ts";
import type { PlanDocument } from "./run-plan.ts";

type Event = StepEvent | EvalEvent | ProbeEvent;

/** One line of a file of samples. */
export interface SampleLine {
  readonly step: number;
  readonly row: number;
  readonly prompt: string;
  readonly text: string;
}

export interface RunReport {
  /** of the run; also the page's title */
  readonly name: string;
  /** what `train --json` says of the end */
  readonly end: {
    readonly steps: number;
    readonly total_steps: number;
    readonly kept_step: number;
    readonly stopped: string | undefined;
    readonly test: EvalResult | undefined;
  };
  readonly method: string;
  readonly plan: PlanDocument;
  /** of the whole run, in order */
  readonly events: readonly Event[];
  /** the first and the last that were drawn */
  readonly samples: readonly (readonly SampleLine[])[];
  /** config.resolved.yaml */
  readonly config: string;
}

/** Share of a run's steps over which its training loss is averaged, and how many at least. */
const AVERAGED = 1 / 40;
const AVERAGED_STEPS = 5;

export function reportHtml(run: RunReport): string {
  const steps = run.events.filter((event) => event.type === "step");
  const evals = run.events.filter((event) => event.type === "eval");
  const probes = run.events.filter((event) => event.type === "probe");
  return htmlPage(`tunesmith: ${run.name}`, [
    `<h1>${escapeHtml(run.name)}</h1>`,
    summary(run),
    ...warnings(run.events),
    ...suitabilityTable(run.events),
    ...scoresTable(run, evals),
    ...lossCharts(steps, evals),
    ...probeSection(probes),
    ...stepCharts(steps),
    ...samplesTable(run.samples),
    `<h2>Config</h2>\n<details><summary>config.resolved.yaml</summary><pre>${escapeHtml(run.config)}</pre></details>`,
  ]);
}

function summary({ end, method, plan }: RunReport): string {
  const why = { signal: "by a signal", patience: "by eval.patience", probe: "by a limit of probe" } as Record<
    string,
    string
  >;
  const stopped = end.stopped === undefined ? "" : `, stopped ${why[end.stopped] ?? end.stopped}`;
  const { trainable, total } = plan.parameters;
  const kept = end.kept_step === end.steps ? "the last state" : `the state after step ${end.kept_step}`;
  return `<p>${end.steps} of ${end.total_steps} steps${stopped}; handed over is ${kept}. Method ${escapeHtml(method)}: ${trainable} of ${total} parameters train. Memory at its peak, as planned: ${bytesText(plan.peak_bytes)}.</p>`;
}

function warnings(events: readonly Event[]): string[] {
  const told = events.flatMap(({ step, warnings: own = [], stop }) => [
    ...own.map(({ message }) => ({ step, message })),
    ...(stop === undefined ? [] : [{ step, message: `the run ended: ${stop}` }]),
  ]);
  if (told.length === 0) return [];
  return [
    "<h2>Warnings</h2>",
    ...told.map(({ step, message }) => `<p class="warn">after step ${step}: ${escapeHtml(message)}</p>`),
  ];
}

function suitabilityTable(events: readonly Event[]): string[] {
  const found = events.find((event) => event.suitability !== undefined)?.suitability;
  if (found === undefined) return [];
  const rows = Object.entries(found.tasks).map(([name, { loss, share, verdict }]) => [name, loss, share, verdict]);
  return [
    "<h2>Is this base suitable?</h2>",
    htmlTable(
      ["task", "loss before training", `share of ln(vocabulary) = ${found.uniform_loss.toFixed(3)}`, "verdict"],
      rows,
    ),
  ];
}

function scoresTable({ end }: RunReport, evals: readonly EvalEvent[]): string[] {
  const [first, last] = [evals[0], evals.at(-1)];
  const best = evals.reduce<EvalEvent | undefined>(
    (least, event) => (least === undefined || event.result.loss < least.result.loss ? event : least),
    undefined,
  );
  const moments = [
    ...(first ? [[`eval, step ${first.step}`, first.result] as const] : []),
    ...(best && best !== first && best !== last ? [[`eval, step ${best.step} (best)`, best.result] as const] : []),
    ...(last && last !== first
      ? [[`eval, step ${last.step}${last === best ? " (best)" : ""}`, last.result] as const]
      : []),
    ...(end.test ? [[`test, step ${end.kept_step}`, end.test] as const] : []),
  ];
  if (moments.length === 0) return [];
  const row = (
    what: string,
    task: string,
    { loss, perplexity, token_accuracy: accuracy, targets }: Omit<EvalResult, "tasks">,
  ): (string | number)[] => [what, task, loss, perplexity, accuracy, targets];
  const rows = moments.flatMap(([what, { tasks, ...all }]) => [
    row(what, "all", all),
    ...(Object.keys(tasks).length < 2 ? [] : Object.entries(tasks).map(([name, scores]) => row(what, name, scores))),
  ]);
  return ["<h2>Scores</h2>", htmlTable(["when", "task", "loss", "perplexity", "token accuracy", "targets"], rows)];
}

function lossCharts(steps: readonly StepEvent[], evals: readonly EvalEvent[]): string[] {
  const trained = steps.map((event) => [event.step, tokenMean(event)] as const);
  const evaluated = evals.map(({ step, result }) => [step, result.loss] as const);
  const tasks = [...new Set(evals.flatMap(({ result }) => Object.keys(result.tasks)))];
  const byTask = tasks.map((name): Curve => ({
    name,
    points: evals.flatMap(({ step, result }) => (result.tasks[name] ? [[step, result.tasks[name].loss] as const] : [])),
    dots: true,
  }));
  return [
    "<h2>Loss</h2>",
    lineChart({
      title: "Training and evaluation",
      x: "step",
      y: "nats per target",
      curves: [
        { name: "training, running mean", points: runningMean(trained) },
        ...(evaluated.length > 0 ? [{ name: "evaluation", points: evaluated, dots: true }] : []),
        { name: "training, each step", points: trained, faint: true },
      ],
    }),
    ...(tasks.length < 2
      ? []
      : [lineChart({ title: "Evaluation by task", x: "step", y: "nats per target", curves: byTask })]),
  ];
}

function probeSection(probes: readonly ProbeEvent[]): string[] {
  const [first, last] = [probes[0], probes.at(-1)];
  if (!first || !last) return [];
  const named = (kind: "sets" | "pairs"): string[] => Object.keys(first.result[kind]);
  const curve = (name: string, value: (event: ProbeEvent) => number): Curve => ({
    name,
    points: probes.map((event) => [event.step, value(event)] as const),
    dots: true,
  });
  const chart = (title: string, y: string, curves: readonly Curve[]): string[] =>
    curves.length === 0 ? [] : [lineChart({ title, x: "step", y, curves })];
  const rows = [
    ...named("sets").map((name) => [
      name,
      "loss",
      first.result.sets[name]!.loss,
      last.result.sets[name]!.loss,
      last.delta?.sets[name] ?? 0,
    ]),
    ...named("pairs").map((name) => [
      name,
      "gap",
      first.result.pairs[name]!.gap,
      last.result.pairs[name]!.gap,
      last.delta?.pairs[name] ?? 0,
    ]),
  ];
  return [
    "<h2>What it cost</h2>",
    htmlTable(["probe", "what", "before", `after step ${last.step}`, "change (of a gap: of its size)"], rows),
    ...chart(
      "Probe",
      "nats per target",
      named("sets").map((name) => curve(name, ({ result }) => result.sets[name]!.loss)),
    ),
    ...chart(
      "Counterfactual pairs: log p(a) − log p(b)",
      "nats",
      named("pairs").map((name) => curve(name, ({ result }) => result.pairs[name]!.gap)),
    ),
  ];
}

function stepCharts(steps: readonly StepEvent[]): string[] {
  if (steps.length === 0) return [];
  const of = (title: string, value: (event: StepEvent) => number): string =>
    lineChart({
      title,
      x: "step",
      y: title.toLowerCase(),
      curves: [{ name: "each step", points: steps.map((event) => [event.step, value(event)] as const) }],
    });
  return [
    "<h2>Optimizer</h2>",
    of("Learning rate", ({ lr }) => lr),
    of("Gradient norm before clipping", ({ grad_norm }) => grad_norm),
  ];
}

function samplesTable(samples: readonly (readonly SampleLine[])[]): string[] {
  const [first, last] = [samples[0], samples.at(-1)];
  if (!first || !last) return [];
  const later = last === first ? [] : [`after step ${last[0]?.step ?? 0}`];
  const rows = first.map(({ prompt, text }, row) => [
    prompt,
    text,
    ...(later.length > 0 ? [last[row]?.text ?? ""] : []),
  ]);
  return ["<h2>Samples</h2>", htmlTable(["prompt", `after step ${first[0]?.step ?? 0}`, ...later], rows)];
}

/** Loss per target over all tasks: what an evaluation reports, whatever the objective weighs. */
function tokenMean({ tasks }: StepEvent): number {
  const all = Object.values(tasks);
  const targets = all.reduce((sum, task) => sum + task.targets, 0);
  return all.reduce((sum, task) => sum + task.loss * task.targets, 0) / targets;
}

/** Of the points before and at each. */
function runningMean(points: readonly (readonly [number, number])[]): (readonly [number, number])[] {
  const window = Math.max(AVERAGED_STEPS, Math.round(points.length * AVERAGED));
  let sum = 0;
  return points.map(([x, y], i) => {
    sum += y - (i >= window ? points[i - window]![1] : 0);
    return [x, sum / Math.min(i + 1, window)] as const;
  });
}
