// Does a merged model compute what base and adapter compute? Both continue the same prompts, and their logits are compared.

import { resolve } from "node:path";
import { uniformInt } from "@tunesmith/core";
import { fourBitCodec } from "@tunesmith/lora";
import { Generator, loadModel, readModelConfig } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import type { Context, Outcome } from "../context.ts";
import { openGpu } from "../device.ts";
import type { Options } from "../flags.ts";
import { loadReadyModel, requireFolder } from "../tuned-model.ts";

const DEFAULT_PROMPTS = 16;
const LONGEST = 32;

export async function run(
  _: readonly string[],
  options: Options<"model" | "adapter" | "merged" | "prompts" | "seed">,
  context: Context,
): Promise<Outcome> {
  const at = (path: string): string => resolve(context.cwd, path);
  const files = nodeFiles();
  await requireFolder(files, at(options.model!), "config.json", "model folder");
  await requireFolder(files, at(options.adapter!), "adapter_config.json", "adapter folder");
  await requireFolder(files, at(options.merged!), "config.json", "model folder");
  const { vocabSize, maxPositions } = await readModelConfig(files, at(options.model!));
  const positions = Math.min(LONGEST + 1, maxPositions);
  const prompts = drawPrompts(options.prompts ?? DEFAULT_PROMPTS, {
    vocabSize,
    longest: positions - 1,
    seed: options.seed ?? 0,
  });

  const device = await openGpu(context);
  const tuned = await loadReadyModel(device, files, {
    model: at(options.model!),
    adapter: at(options.adapter!),
    positions,
  });
  const expected = await nextLogits(new Generator(tuned.model, tuned.adapter), prompts);
  tuned.model.dispose();
  const merged = await loadModel(device, files, at(options.merged!), { positions, codec: fourBitCodec() });
  const received = await nextLogits(new Generator(merged), prompts);
  merged.dispose();

  const pairs = expected.map((logits, i) => compare(logits, received[i]!));
  const document = {
    prompts: prompts.length,
    max_logit_difference: Math.max(...pairs.map((pair) => pair.difference)),
    max_kl: Math.max(...pairs.map((pair) => pair.kl)),
    mean_kl: pairs.reduce((sum, pair) => sum + pair.kl, 0) / pairs.length,
    same_top_token: pairs.filter((pair) => pair.sameTop).length / pairs.length,
  };
  return {
    document,
    text: [
      `${document.prompts} prompts of random tokens, the logits after each:`,
      `  largest difference ${document.max_logit_difference.toPrecision(3)}`,
      `  KL(adapter ‖ merged) ${document.mean_kl.toPrecision(3)} nats on average, ${document.max_kl.toPrecision(3)} at most`,
      `  same most likely token for ${(100 * document.same_top_token).toFixed(1)} %`,
    ].join("\n"),
  };
}

/** Token ids from the counter generator, 1 to `longest` of them. */
function drawPrompts(count: number, of: { vocabSize: number; longest: number; seed: number }): Int32Array[] {
  return Array.from({ length: count }, (_, i) =>
    Int32Array.from({ length: 1 + uniformInt(of.longest, of.seed, 0, i, 0) }, (_token, t) =>
      uniformInt(of.vocabSize, of.seed, 1, i, t),
    ),
  );
}

async function nextLogits(generator: Generator, prompts: readonly Int32Array[]): Promise<Float32Array[]> {
  try {
    return await generator.nextLogits(prompts);
  } finally {
    generator.dispose();
  }
}

/** @returns max |Δlogit|, KL(p ‖ q) in nats, and whether both have one most likely token */
function compare(p: Float32Array, q: Float32Array): { difference: number; kl: number; sameTop: boolean } {
  const [logP, logQ] = [logSoftmax(p), logSoftmax(q)];
  let difference = 0;
  let kl = 0;
  for (let i = 0; i < p.length; i++) {
    difference = Math.max(difference, Math.abs(p[i]! - q[i]!));
    kl += Math.exp(logP[i]!) * (logP[i]! - logQ[i]!);
  }
  const top = (x: Float32Array): number => x.indexOf(x.reduce((a, b) => Math.max(a, b), -Infinity));
  return { difference, kl: Math.max(0, kl), sameTop: top(p) === top(q) };
}

function logSoftmax(logits: Float32Array): Float64Array {
  const max = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - max);
  return Float64Array.from(logits, (value) => value - max - Math.log(sum));
}
