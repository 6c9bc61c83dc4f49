// Why numbers are not finite: the first tensor that holds a NaN or Inf, and the rows that lead to it. Nothing here runs while
// all is well, except for a look at the parameters before they are saved.

import type { Batch, Example } from "@tunesmith/data";
import { tokenBucket } from "@tunesmith/models";
import { checkingFinite, firstNonFinite, Tensor } from "@tunesmith/tensor";
import { segmentCount } from "./counters.ts";
import { SftError } from "./errors.ts";
import { RunPrograms } from "./programs.ts";
import type { RunProgramsOptions } from "./programs.ts";
import type { Tuning } from "./tuning.ts";

/** A step whose gradient norm was not finite. */
export interface FailedStep {
  /** updates, counted with this one */
  readonly step: number;
  readonly gradNorm: number;
  /** its micro-batches */
  readonly window: readonly Batch[];
  /** share of each target in the objective, per micro-batch */
  readonly scales: readonly Float32Array[];
  /** what each micro-batch was made of */
  readonly examples: readonly (readonly Example[])[];
}

/** Where a NaN or Inf was found. */
interface Finding {
  readonly tensor: string;
  readonly fix: string;
  readonly microBatch?: number;
}

const LOWER_RATE = "lower train.learning_rate";

/**
 * Looks for the cause of a gradient norm that is not finite: in parameters, in the base's weights, and by running the step's
 * micro-batches once more with every launch scanned. The store's updates are halted, so nothing but gradients changes.
 */
export async function nonFiniteStep(
  tuning: Tuning,
  options: Omit<RunProgramsOptions, "shape"> & { readonly packing: boolean },
  failed: FailedStep,
): Promise<SftError> {
  const { step, gradNorm, window, examples } = failed;
  const gradient = await firstNonFinite(tuning.store.device, slicesOf(tuning, "gradients"));
  const again = await runAgain(tuning, options, failed);
  const parameter = await badParameter(tuning);
  const found: Finding | undefined = parameter
    ? again
      ? { ...parameter, tensor: `${parameter.tensor}, first seen in ${again.tensor}`, microBatch: again.microBatch }
      : parameter
    : (again ?? (gradient === undefined ? undefined : { tensor: `the gradient of ${gradient}`, fix: LOWER_RATE }));
  const rows = (again?.examples ?? examples.flat()).map(({ row }) => row);
  const shown = rowsText(rows);
  const where =
    found?.microBatch === undefined ? shown : `micro-batch ${found.microBatch + 1} of ${window.length}, ${shown}`;
  return new SftError(
    "NON_FINITE",
    `step ${step}: the gradient norm is ${gradNorm}; the weights were left as they were after step ${step - 1}. ${
      found ? `The first bad tensor is ${found.tensor}` : "No tensor was bad when the step ran again"
    } (${where})`,
    {
      received: String(gradNorm),
      expected: "a finite number",
      fix: found?.fix ?? `${LOWER_RATE}, or look at ${shown} of the training data`,
    },
  );
}

/**
 * @param step - updates so far
 * @throws SftError `NON_FINITE` naming the first trained parameter that holds a NaN or Inf: such a state is not to be saved
 */
export async function checkParameters(tuning: Tuning, step: number): Promise<void> {
  const name = await firstNonFinite(tuning.store.device, slicesOf(tuning, "values"));
  if (name !== undefined)
    throw new SftError("NON_FINITE", `the update of step ${step} left a NaN or Inf in ${name}: it is not saved`, {
      received: "NaN or Inf",
      expected: "finite parameters",
      fix: `${LOWER_RATE}; the checkpoint before is still there`,
    });
}

/** Rows of the dataset for people. */
export function rowsText(rows: readonly number[]): string {
  const distinct = [...new Set(rows)];
  return `row${distinct.length === 1 ? "" : "s"} ${distinct.slice(0, 8).join(", ")}${distinct.length > 8 ? " …" : ""}`;
}

/** The examples of a flat sequence at whose positions something holds. */
export function examplesAt(
  examples: readonly Example[],
  packing: boolean,
  holds: (position: number) => boolean,
): Example[] {
  const longest = Math.max(...examples.map(({ inputIds }) => inputIds.length));
  let start = 0;
  return examples.filter(({ inputIds }) => {
    const first = start;
    start += packing ? inputIds.length : longest;
    for (let at = first; at < first + inputIds.length; at++) if (holds(at)) return true;
    return false;
  });
}

function* slicesOf({ store }: Tuning, part: "values" | "gradients"): Generator<readonly [string, Tensor]> {
  for (const name of store.names) for (const slice of store.slices(name)) yield [name, slice[part]];
}

async function badParameter(tuning: Tuning): Promise<Finding | undefined> {
  const { device, parameters } = tuning.model;
  const trained = await firstNonFinite(device, slicesOf(tuning, "values"));
  if (trained !== undefined) return { tensor: `the parameter ${trained}`, fix: LOWER_RATE };
  const tensors = [...parameters].flatMap(([name, parameter]) =>
    parameter instanceof Tensor
      ? [[name, parameter] as const]
      : parameter.shards.map(({ tensor }) => [name, tensor] as const),
  );
  const frozen = await firstNonFinite(device, tensors);
  if (frozen === undefined) return undefined;
  return { tensor: `${frozen} of the base`, fix: "the base model holds it: get its weights again" };
}

/** Which launch of which micro-batch is the first to make a NaN or Inf, and for which examples. */
async function runAgain(
  tuning: Tuning,
  options: Omit<RunProgramsOptions, "shape"> & { readonly packing: boolean },
  { step, window, scales, examples }: FailedStep,
): Promise<(Finding & { microBatch: number; examples: readonly Example[] }) | undefined> {
  const { device } = tuning.model;
  const buckets = new Map(window.map(({ inputIds }) => [tokenBucket(inputIds.length), 1]));
  return checkingFinite(device, async (check) => {
    const programs = new RunPrograms(tuning, {
      ...options,
      shape: { microBatches: buckets, scored: new Set(), tokens: 0 },
    });
    try {
      await check.first(); // forgets what it saw before
      let firstSegment = 0;
      for (const [microBatch, batch] of window.entries()) {
        tuning.store.zeroGradients();
        const { losses } = await programs.microBatch(batch, scales[microBatch]!, { step: step - 1, firstSegment });
        firstSegment += segmentCount(batch);
        const tensor = await check.first();
        if (tensor === undefined) continue;
        const rows = examples[microBatch]!;
        const scale = scales[microBatch]!;
        const bad = examplesAt(rows, options.packing, (at) => !Number.isFinite(losses[at]! * (scale[at] ?? 0)));
        const shown = bad.length > 0 ? bad : rows;
        const fix = `${LOWER_RATE}, or look at ${rowsText(shown.map(({ row }) => row))} of the training data`;
        return { tensor, fix, microBatch, examples: shown };
      }
      return undefined;
    } finally {
      tuning.store.zeroGradients();
      programs.dispose();
    }
  });
}
