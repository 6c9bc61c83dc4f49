// Ways to compute the same step that must agree: tried on the first step of a run, with the model, data and settings it has.

import { makeBatch, targetScale } from "@tunesmith/data";
import type { Batch, Example, Objective, Schedule } from "@tunesmith/data";
import { tokenBucket } from "@tunesmith/models";
import type { Optimizer } from "@tunesmith/optim";
import { planMemory, scope, upload } from "@tunesmith/tensor";
import type { DType, Inputs, Tensor, TensorData } from "@tunesmith/tensor";
import { segmentCount } from "./counters.ts";
import { SftError } from "./errors.ts";
import type { LossTerms, TokenLosses } from "./loss-terms.ts";
import { computeMicroBatch, microBatchValues } from "./micro-batch.ts";
import { RunPrograms } from "./programs.ts";
import type { StepMemory } from "./step-memory.ts";
import type { Tuning } from "./tuning.ts";

export interface SelfCheckOptions {
  readonly examples: readonly Example[];
  readonly tasks: readonly { readonly name: string; readonly lossWeight: number }[];
  readonly schedule: Schedule;
  readonly packing: boolean;
  readonly objective: Objective;
  readonly optimizer: Optimizer;
  readonly memory?: StepMemory;
  readonly terms?: LossTerms;
  /** bytes that programs may share; where the whole step takes more, a check takes its shortest rows */
  readonly room: number;
}

/** What came of one comparison. */
export interface SelfCheck {
  readonly name: "packed = unpacked" | "accumulated = at once" | "recomputed = stored" | "replayed = eager";
  /** of the step that were compared; 0: it has too few, or there is no room for any */
  readonly rows: number;
  /** relative */
  readonly loss_difference: number;
  /** ‖a − b‖ / ‖b‖ over all trained parameters */
  readonly gradient_difference: number;
  /** that each of them may be */
  readonly tolerance: { readonly loss: number; readonly gradient: number };
  readonly ok: boolean;
}

/** Sums in another order round differently. */
const ROUNDING = { loss: 1e-5, gradient: 1e-4 };
/** Operands in f16 round more. */
const MIXED = { loss: 1e-2, gradient: 5e-2 };
const EXACT = { loss: 0, gradient: 0 };

/** A way to compute a step. */
interface Way {
  /** examples of each micro-batch */
  readonly window: readonly (readonly Example[])[];
  readonly packing: boolean;
  readonly recompute: StepMemory["recompute"];
}

interface Outcome {
  readonly loss: number;
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

/** Runs all checks. Parameters and moments stay; gradients are zeros afterwards. */
export async function selfCheck(tuning: Tuning, options: SelfCheckOptions): Promise<SelfCheck[]> {
  const { schedule, examples, memory = {}, packing } = options;
  const step = schedule.window(0, memory.microBatchSize).map((rows) => rows.map((row) => examples[row]!));
  const recompute = memory.recompute ?? "none";
  const other = recompute === "none" ? "layer" : "none";
  const rounding = tuning.model.device.options.compute === "mixed" ? MIXED : ROUNDING;
  const rows = step.flat();
  const byLength = rows.toSorted((a, b) => a.inputIds.length - b.inputIds.length);
  const whole = { window: step, packing, recompute };
  const shortest = { window: [byLength.slice(0, 1)], packing, recompute };
  const two = { window: [byLength.slice(0, 2)], packing, recompute };
  const apart = (way: Way): Way => ({ ...way, window: way.window.flat().map((row) => [row]) });
  const twoWays = rows.length > 1 ? [two] : [];
  const cut = step.length > 1 ? [{ ...whole, window: [rows] }] : [];

  const pairs: { name: SelfCheck["name"]; tolerance: SelfCheck["tolerance"]; ways: (readonly [Way, Way])[] }[] = [
    {
      name: "packed = unpacked",
      tolerance: rounding,
      ways: [...(rows.length > 1 ? [whole] : []), ...twoWays].map((way) => [way, { ...way, packing: !packing }]),
    },
    {
      name: "accumulated = at once",
      tolerance: rounding,
      ways: [...cut, ...(rows.length > step.length ? [whole] : []), ...twoWays].map((way) => [apart(way), way]),
    },
    {
      name: "recomputed = stored",
      tolerance: rounding,
      ways: [whole, shortest].map((way) => [way, { ...way, recompute: other }]),
    },
  ];
  const checks: SelfCheck[] = [];
  for (const { name, tolerance, ways } of pairs) {
    const fitting = ways.find((pair) => pair.every((way) => roomOf(tuning, options, way) <= options.room));
    if (!fitting) {
      checks.push({ name, rows: 0, loss_difference: 0, gradient_difference: 0, tolerance, ok: true });
      continue;
    }
    const [a, b] = [await replayed(tuning, options, fitting[0]), await replayed(tuning, options, fitting[1])];
    checks.push(compare(name, { rows: fitting[0].window.flat().length, tolerance }, a, b));
  }
  const eager = await eagerly(tuning, options, shortest);
  const replay = await replayed(tuning, options, shortest);
  checks.push(compare("replayed = eager", { rows: 1, tolerance: EXACT }, replay, eager));
  return checks;
}

/**
 * A check as a line for people.
 * @example "packed = unpacked: loss differs by 3.1e-8, gradients by 4.2e-7 (8 rows): ok"
 */
export function selfCheckText({ name, rows, loss_difference, gradient_difference, tolerance, ok }: SelfCheck): string {
  if (rows === 0) return `${name}: not compared, the first step has too few rows or there is no room for it`;
  const of = (difference: number): string => difference.toExponential(1);
  const allowed = ok ? "ok" : `allowed are ${of(tolerance.loss)} and ${of(tolerance.gradient)}`;
  return `${name}: loss differs by ${of(loss_difference)}, gradients by ${of(gradient_difference)} (${rows} row${rows === 1 ? "" : "s"}): ${allowed}`;
}

/** @throws SftError `SELF_CHECK` for the first check that failed */
export function requireSelfCheck(checks: readonly SelfCheck[]): void {
  const failed = checks.find(({ ok }) => !ok);
  if (!failed) return;
  throw new SftError("SELF_CHECK", `the self-check failed: ${selfCheckText(failed)}`, {
    received: `${failed.loss_difference} and ${failed.gradient_difference}`,
    expected: `at most ${failed.tolerance.loss} and ${failed.tolerance.gradient}`,
    fix: "this device or driver computes wrongly, or tunesmith does: run `tunesmith doctor`, try another --device, and report it",
  });
}

function compare(
  name: SelfCheck["name"],
  { rows, tolerance }: Pick<SelfCheck, "rows" | "tolerance">,
  a: Outcome,
  b: Outcome,
): SelfCheck {
  const loss = relative(Math.abs(a.loss - b.loss), Math.abs(b.loss));
  let [difference, size] = [0, 0];
  for (const [key, values] of a.gradients) {
    const others = b.gradients.get(key)!;
    for (const [i, value] of values.entries()) {
      difference += (value - others[i]!) ** 2;
      size += others[i]! ** 2;
    }
  }
  const gradient = relative(Math.sqrt(difference), Math.sqrt(size));
  // NaN fails
  const ok = loss <= tolerance.loss && gradient <= tolerance.gradient;
  return { name, rows, loss_difference: loss, gradient_difference: gradient, tolerance, ok };
}

function relative(difference: number, size: number): number {
  return difference === 0 ? 0 : difference / size;
}

/** A way as batches with the share of each target in the step. */
function batchesOf({ tasks, objective }: SelfCheckOptions, { window, packing }: Way): [Batch, Float32Array][] {
  const names = tasks.map(({ name }) => name);
  const batches = window.map((rows) => makeBatch(rows, { packing, tasks: names }));
  const weights = tasks.map(({ lossWeight }) => lossWeight);
  return targetScale(batches, objective, weights).map((scale, i) => [batches[i]!, scale]);
}

function programsOf(tuning: Tuning, options: SelfCheckOptions, way: Way): RunPrograms {
  const buckets = batchesOf(options, way).map(([{ inputIds }]) => tokenBucket(inputIds.length));
  return new RunPrograms(tuning, {
    ...options,
    memory: { ...options.memory, recompute: way.recompute },
    shape: { microBatches: new Map(buckets.map((tokens) => [tokens, 1])), scored: new Set(), tokens: 0 },
  });
}

/** Bytes that the programs of a way share. */
function roomOf(tuning: Tuning, options: SelfCheckOptions, way: Way): number {
  const programs = programsOf(tuning, options, way);
  const { slots } = planMemory(tuning.store.device, programs.all);
  programs.dispose();
  return slots.reduce((a, b) => a + b, 0);
}

async function replayed(tuning: Tuning, options: SelfCheckOptions, way: Way): Promise<Outcome> {
  const programs = programsOf(tuning, options, way);
  try {
    return await overBatches(tuning, batchesOf(options, way), (batch, scale, firstSegment) =>
      programs.microBatch(batch, scale, { step: 0, firstSegment }),
    );
  } finally {
    programs.dispose();
    tuning.store.device.workspace.release(); // the next way has other slots
  }
}

async function eagerly(tuning: Tuning, options: SelfCheckOptions, way: Way): Promise<Outcome> {
  const { device } = tuning.model;
  const { terms = {}, memory } = options;
  return overBatches(tuning, batchesOf(options, way), async (batch, scale, firstSegment) => {
    const tokens = tokenBucket(batch.inputIds.length);
    const values = microBatchValues(tuning, batch, scale, { tokens, at: { step: 0, firstSegment }, terms });
    const input = <D extends DType>(name: string, shape: readonly number[], dtype: D): Tensor<D> =>
      upload(device, shape, dtype, values[name] as TensorData<D>);
    const scalar = ((name: string, dtype: DType = "f32") => input(name, [1], dtype)) as Inputs["scalar"];
    const read = await scope(device, async () => {
      const losses = computeMicroBatch(tuning, { input, scalar }, tokens, {
        memory: { ...memory, recompute: way.recompute },
        terms,
      });
      return Promise.all(Object.entries(losses).map(async ([name, tensor]) => [name, await tensor.read()] as const));
    });
    return Object.fromEntries(read) as unknown as TokenLosses;
  }).finally(() => device.trim());
}

/** Loss and gradients of a step, micro-batch by micro-batch. */
async function overBatches(
  { store }: Tuning,
  batches: readonly (readonly [Batch, Float32Array])[],
  compute: (batch: Batch, scale: Float32Array, firstSegment: number) => Promise<TokenLosses>,
): Promise<Outcome> {
  store.zeroGradients();
  let [loss, firstSegment] = [0, 0];
  for (const [batch, scale] of batches) {
    const { losses, added } = await compute(batch, scale, firstSegment);
    firstSegment += segmentCount(batch);
    for (const row of batch.targetRows) loss += scale[row]! * (losses[row]! + (added?.[row] ?? 0));
  }
  const gradients = await store.readAll("gradients");
  store.zeroGradients();
  return { loss, gradients };
}
