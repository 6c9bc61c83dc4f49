// The fastest way to run a step that fits the memory: whole micro-batches if they do, else smaller ones, activation
// checkpointing, fewer logits at a time. Every candidate is planned to the byte before anything is allocated.

import { isTunesmithError } from "@tunesmith/core";
import { defaultChunkRows } from "@tunesmith/autograd";
import type { Recompute } from "@tunesmith/models";
import type { Optimizer } from "@tunesmith/optim";
import type { MemoryPlan } from "@tunesmith/tensor";
import { SftError } from "./errors.ts";
import type { LossTerms } from "./loss-terms.ts";
import { planRun } from "./plan-run.ts";
import type { RunShape } from "./run-shape.ts";
import type { StepMemory } from "./step-memory.ts";
import type { Tuning } from "./tuning.ts";

export interface MemoryRequest {
  /** on a device made by `virtualDevice` */
  readonly tuning: Tuning;
  readonly optimizer: Optimizer;
  readonly terms?: LossTerms;
  /** what the run asks for with micro-batches of so many examples */
  readonly shape: (microBatchSize: number) => RunShape;
  /** examples per micro-batch if memory were no question */
  readonly batchSize: number;
  /** what is decided already */
  readonly fixed?: StepMemory;
  /** bytes for everything; Infinity: only the limits of the device count */
  readonly budget: number;
}

export interface MemoryChoice extends Required<{ [K in keyof StepMemory]: NonNullable<StepMemory[K]> }> {
  readonly plan: MemoryPlan;
  /** what else was planned, and why it was not taken; for people */
  readonly reason: string;
}

/** Forward and backward with every layer forward twice: 29.8 against 21.5 TFLOP for a LoRA step of Llama-3.2-1B. */
const RECOMPUTE_COST = 1.39;
/** tokens at which a micro-batch takes twice the time per token, by judgement: launches are too small to fill the device */
const HALF_SPEED_TOKENS = { software: 16, hardware: 512 };
/** each halving of the chunk reads the head twice as often */
const CHUNK_COST = 1.02;

/**
 * Chooses micro-batch size, activation checkpointing and chunk of the cross-entropy.
 * @throws SftError `MEMORY_BUDGET` if nothing fits, with the smallest plan
 */
export function chooseMemory(request: MemoryRequest): MemoryChoice {
  const { tuning, shape, budget } = request;
  const shapes = new Map<number, RunShape>();
  const shapeOf = (size: number): RunShape => {
    let found = shapes.get(size);
    if (!found) shapes.set(size, (found = shape(size)));
    return found;
  };
  let first: Attempt | undefined;
  let smallest: { candidate: Candidate; plan: MemoryPlan } | undefined;
  for (const candidate of candidates(request, shapeOf)) {
    let plan: MemoryPlan;
    try {
      plan = planRun(tuning, { ...request, shape: shapeOf(candidate.microBatchSize), memory: candidate });
    } catch (error) {
      if (!isTunesmithError(error) || error.code !== "OUT_OF_MEMORY") throw error;
      first ??= { candidate, failure: error.message };
      continue;
    }
    if (plan.peakBytes <= budget) return { ...candidate, plan, reason: reasonFor(request, candidate, plan, first) };
    first ??= { candidate, plan };
    if (!smallest || plan.peakBytes < smallest.plan.peakBytes) smallest = { candidate, plan };
  }
  throw nothingFits(request, smallest, first!);
}

interface Candidate {
  readonly microBatchSize: number;
  readonly recompute: Recompute;
  readonly chunkRows: number;
}
type Attempt = { readonly candidate: Candidate } & ({ readonly plan: MemoryPlan } | { readonly failure: string });

/** Every combination that is still open, the fastest first. */
function candidates(request: MemoryRequest, shapeOf: (microBatchSize: number) => RunShape): Candidate[] {
  const { tuning, batchSize, fixed = {} } = request;
  const { device, lm_head } = tuning.model;
  const half = HALF_SPEED_TOKENS[device.facts.software ? "software" : "hardware"];
  const found: { candidate: Candidate; cost: number }[] = [];
  for (const microBatchSize of fixed.microBatchSize ? [fixed.microBatchSize] : halvings(batchSize, 1)) {
    const { microBatches, scored } = shapeOf(microBatchSize);
    const tokens = Math.max(...microBatches.keys(), ...scored);
    const chunk = defaultChunkRows(tokens, lm_head.shape[0], device.facts);
    const chunks = fixed.chunkRows ? [fixed.chunkRows] : halvings(chunk, 64).filter((rows) => rows % 64 === 0);
    for (const recompute of fixed.recompute ? [fixed.recompute] : (["none", "layer"] as const))
      for (const [i, chunkRows] of chunks.entries()) {
        const cost = (recompute === "layer" ? RECOMPUTE_COST : 1) * (1 + half / tokens) * CHUNK_COST ** i;
        found.push({ candidate: { microBatchSize, recompute, chunkRows }, cost });
      }
  }
  return found.sort((a, b) => a.cost - b.cost).map(({ candidate }) => candidate);
}

/** n, n/2 … `least`, each rounded up. */
function halvings(n: number, least: number): number[] {
  const out = [n];
  while (out.at(-1)! > least) out.push(Math.max(least, Math.ceil(out.at(-1)! / 2)));
  return out;
}

function told({ microBatchSize, recompute, chunkRows }: Candidate): string {
  return `micro-batches of ${microBatchSize}, recompute ${recompute}, logits of ${chunkRows} positions at a time`;
}

function reasonFor({ budget }: MemoryRequest, chosen: Candidate, plan: MemoryPlan, first: Attempt | undefined): string {
  const limit = budget === Infinity ? "no budget is set" : `the budget is ${megabytes(budget)}`;
  const choice = `${told(chosen)}: ${megabytes(plan.peakBytes)}`;
  if (!first) return `${choice}; the fastest way, and ${limit}`;
  const before = "plan" in first ? `would take ${megabytes(first.plan.peakBytes)} and ${limit}` : first.failure;
  return `${choice}; the fastest way that fits: ${told(first.candidate)} ${before}`;
}

function nothingFits(
  { budget, tuning, fixed = {} }: MemoryRequest,
  smallest: { candidate: Candidate; plan: MemoryPlan } | undefined,
  first: Attempt,
): SftError {
  const open = [
    ...(fixed.microBatchSize ? ["leave train.micro_batch_size to auto"] : []),
    ...(fixed.recompute === "none" ? ["leave train.recompute to auto"] : []),
  ];
  if (!smallest)
    return new SftError("MEMORY_BUDGET", `no way to run fits this device: ${"failure" in first ? first.failure : ""}`, {
      fix: [...open, "lower data.max_length"].join(", or "),
    });
  const { peakBytes, categories } = smallest.plan;
  const held = categories.weights + categories.adapter + categories.gradients + categories.optimizer;
  const fixes = [
    ...open,
    `raise the budget to ${megabytes(peakBytes)}`,
    held > budget ? "use method qlora, a smaller model or a lower tune.r" : "lower data.max_length",
  ];
  const model = tuning.model.config.architecture;
  return new SftError(
    "MEMORY_BUDGET",
    `no way to run this ${model} model fits ${megabytes(budget)}: the smallest plan takes ${megabytes(peakBytes)} (${told(smallest.candidate)}), ${megabytes(held)} of it for weights, adapter and optimizer`,
    { expected: `at most ${budget} bytes`, received: `${peakBytes} bytes`, fix: fixes.join(", or ") },
  );
}

/** Decimal, rounded up: what is said to fit fits. */
function megabytes(bytes: number): string {
  return bytes >= 1e9
    ? `${(Math.ceil(bytes / 1e7) / 100).toFixed(2)} GB`
    : `${(Math.ceil(bytes / 1e5) / 10).toFixed(1)} MB`;
}
