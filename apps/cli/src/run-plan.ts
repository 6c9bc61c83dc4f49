// What a run will take before anything of it exists: exact bytes, and the way to cut it that fits the memory. `plan`
// prints it, `train` obeys it and writes it to plan.json.

import { type Files, isTunesmithError } from "@tunesmith/core";
import { parameterShapes, planModel, readModelFormats, type WeightCodec } from "@tunesmith/models";
import {
  chooseMemory,
  type MemoryChoice,
  type MemoryRequest,
  probeParts,
  runShape,
  type RunShape,
  type Tuning,
} from "@tunesmith/sft";
import { autotune, type Device, virtualTwin } from "@tunesmith/tensor";
import { bytesText, parseBytes } from "./bytes.ts";
import type { LoadedConfig, ResolvedConfig } from "./config/load.ts";
import { lossTermsOf } from "./loss-terms.ts";
import { optimizerOf } from "./optimizer.ts";
import type { RunData } from "./run-data.ts";
import { samplingOf } from "./samples.ts";
import { tuneRun } from "./tune-run.ts";

/** `plan.json`, and what `plan --json` prints with `time`. */
export interface PlanDocument {
  readonly format_version: 1;
  /** of all buffers that exist together; the sum of `categories` */
  readonly peak_bytes: number;
  readonly categories: Readonly<Record<string, number>>;
  /** where most bytes are alive in the memory that programs share */
  readonly peak: { readonly program: string; readonly op: string };
  /** bytes of that memory over the most that are alive at one time */
  readonly slots_over_lower_bound: number;
  readonly parameters: { readonly total: number; readonly trainable: number };
  readonly steps: number;
  readonly micro_batch_size: number;
  readonly recompute: MemoryChoice["recompute"];
  readonly cross_entropy_rows: number;
  /** bytes; null: only the device's limits count */
  readonly memory_budget: number | null;
  /** false only where `plan` shows what this machine has no memory for */
  readonly fits: boolean;
  readonly reason: string;
}

/** Where a run happens and how its base is stored there. */
export interface RunDevice {
  readonly files: Files;
  readonly device: Device;
  readonly codec: WeightCodec;
}

export interface RunPlan {
  readonly choice: MemoryChoice;
  readonly shape: RunShape;
  readonly document: PlanDocument;
}

/** A choice by measured kernels may show products that nobody had measured; it ends there. */
const MEASURED_ROUNDS = 3;
/** Part of the host's free memory that a software device may take by default. */
const HOST_SHARE = 0.9;

/**
 * Plans a run for a device and chooses what its config leaves open.
 *
 * @param options.evenIfTooLarge - where no budget is written and nothing fits what is free, plans the smallest way
 * @throws SftError `MEMORY_BUDGET` if nothing fits
 */
export async function planTheRun(
  loaded: LoadedConfig,
  data: RunData,
  { files, device, codec, ...options }: RunDevice & { readonly evenIfTooLarge?: boolean },
): Promise<RunPlan> {
  const { config } = loaded;
  const { train } = config;
  const twin = virtualTwin(device);
  const { config: modelConfig, ...formats } = await readModelFormats(files, config.model, codec);
  const tuning = await tuneRun(loaded, {
    files,
    device: twin,
    modelConfig,
    load: (place) => planModel(twin, modelConfig, { ...formats, codec, positions: data.positions, ...place }),
  });
  const shape = (microBatchSize: number): RunShape =>
    runShape({
      examples: data.train,
      schedule: data.schedule,
      packing: config.data.packing !== false,
      microBatchSize,
      scored: [
        ...[data.evaluation, data.test].flatMap((examples) =>
          examples ? [{ examples, batchSize: microBatchSize }] : [],
        ),
        ...(data.probe ? probeParts({ ...data.probe, batchSize: microBatchSize }) : []),
      ],
      sampled: samplingOf(config, data),
      replay: data.replay,
    });
  const budget = budgetOf(config, device);
  const request: MemoryRequest = {
    tuning,
    optimizer: optimizerOf(config),
    terms: lossTermsOf(config),
    shape,
    batchSize: train.batch_size,
    fixed: {
      ...(train.micro_batch_size === "auto" ? {} : { microBatchSize: train.micro_batch_size }),
      ...(train.recompute === "auto" ? {} : { recompute: train.recompute }),
      ...(train.cross_entropy_rows === "auto" ? {} : { chunkRows: train.cross_entropy_rows }),
    },
    budget,
  };
  const choose = (): MemoryChoice => {
    try {
      return chooseMemory(request);
    } catch (error) {
      const show = options.evenIfTooLarge === true && train.memory_budget === "auto";
      if (!show || !isTunesmithError(error) || error.code !== "MEMORY_BUDGET") throw error;
      const smallest = { microBatchSize: 1, recompute: "layer", chunkRows: 64, ...request.fixed } as const;
      const choice = chooseMemory({ ...request, fixed: smallest, budget: Infinity });
      return { ...choice, reason: `more than is free here: ${error.message}` };
    }
  };
  let choice = choose();
  // kernels that are chosen by measuring differ in the memory they need: what is planned is what was measured
  for (let round = 0; round < MEASURED_ROUNDS && (await measureKernels(device, twin)); round++) choice = choose();
  const { plan } = choice;
  return {
    choice,
    shape: shape(choice.microBatchSize),
    document: {
      format_version: 1,
      peak_bytes: plan.peakBytes,
      categories: plan.categories,
      peak: { program: plan.peak.program, op: plan.peak.at },
      slots_over_lower_bound: Number((plan.slots.reduce((a, b) => a + b, 0) / plan.peak.bytes).toFixed(4)),
      parameters: countParameters(tuning),
      steps: data.schedule.totalSteps,
      micro_batch_size: choice.microBatchSize,
      recompute: choice.recompute,
      cross_entropy_rows: choice.chunkRows,
      memory_budget: budget === Infinity ? null : budget,
      fits: plan.peakBytes <= budget,
      reason: choice.reason,
    },
  };
}

/** The config with what the plan decided: it repeats the run on any machine. */
export function decided(
  config: ResolvedConfig,
  { microBatchSize, recompute, chunkRows }: MemoryChoice,
): ResolvedConfig {
  const train = { ...config.train, micro_batch_size: microBatchSize, recompute, cross_entropy_rows: chunkRows };
  return { ...config, train };
}

/** The plan for a person. */
export function planText({ peak_bytes, categories, ...document }: PlanDocument): string {
  const { parameters, steps, peak, slots_over_lower_bound: ratio, reason } = document;
  const rows = Object.entries(categories)
    .filter(([, bytes]) => bytes > 0)
    .map(([name, bytes]) => `  ${name.padEnd(12)}${bytesText(bytes).padStart(10)}  ${bytes} bytes`);
  return [
    `memory at its peak: ${bytesText(peak_bytes)} (${peak_bytes} bytes)`,
    ...rows,
    `most is alive in ${peak.program} at ${peak.op.replace(/\{.*/, "")}; shared memory is ${ratio.toFixed(3)} × the least possible`,
    `parameters: ${parameters.total}, of which ${parameters.trainable} train`,
    `steps: ${steps}`,
    reason,
  ].join("\n");
}

/** Measures on the device what the plan would run for the first time; true if that decided anything. */
async function measureKernels(device: Device, twin: Device): Promise<boolean> {
  const planned = twin.kernelChoices.export();
  for (const [key, product] of twin.kernelChoices.unmeasured)
    device.kernelChoices.decide(key, product, () => planned[key]!);
  const decided = await autotune(device, { now: () => performance.now() });
  twin.kernelChoices.import(device.kernelChoices.export());
  return decided.length > 0;
}

function budgetOf({ train }: ResolvedConfig, { facts }: Device): number {
  const written = train.memory_budget;
  if (typeof written === "number") return written;
  if (written !== "auto") return parseBytes(written)!; // the schema has checked it
  // WebGPU does not tell a GPU's memory; a software device lives in the host's
  return facts.software ? Math.floor(process.availableMemory() * HOST_SHARE) : Infinity;
}

function countParameters({ model, store, adapter }: Tuning): PlanDocument["parameters"] {
  const size = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);
  const slices = [...store.layout.slices.values()].flat();
  const trainable = slices.reduce((sum, { shape }) => sum + size(shape), 0);
  const base = [...parameterShapes(model.config).values()].reduce((sum, shape) => sum + size(shape), 0);
  return { total: adapter ? base + trainable : base, trainable };
}
