// The demo: the main job on an embedded tiny base. It writes instruction data and a config, runs `train` on them as a user
// would, and scores base and tuned model on prompts that neither has seen.

import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { BugError } from "@tunesmith/core";
import {
  baseDocument,
  heldOutSet,
  type Instruction,
  mostFrequentShare,
  sharedContent,
  tuningSet,
  withShuffledAnswers,
} from "@tunesmith/demo";
import { loadTokenizer, nodeFiles } from "@tunesmith/node";
import type { Device } from "@tunesmith/tensor";
import { stringify } from "yaml";
import { loadConfig } from "../config/load.ts";
import type { Context } from "../context.ts";
import { openGpu } from "../device.ts";
import { trainRun } from "../train-run.ts";
import { loadReadyModel, requireFolder } from "../tuned-model.ts";
import { type Answered, answerAll, exactMatch } from "./score.ts";

export interface DemoOptions {
  /** of the instructions and the adapter's start */
  readonly seed: number;
  /** trains on answers shuffled among the prompts: nothing may be learned from them */
  readonly shuffled: boolean;
}

export interface DemoTaskScore {
  readonly name: string;
  /** share of exact matches, 0–1 */
  readonly before: number;
  readonly after: number;
  readonly prompts: number;
  /** score of always giving the most frequent answer */
  readonly most_frequent_answer: number;
}

/** What `demo --json` prints. */
export interface DemoDocument {
  readonly tasks: readonly DemoTaskScore[];
  /** means over the tasks */
  readonly before: number;
  readonly after: number;
  readonly seconds: number;
  /** path of the adapter folder */
  readonly adapter: string;
  readonly samples: readonly {
    readonly prompt: string;
    readonly expected: string;
    readonly before: string;
    readonly after: string;
  }[];
}

const BASE = fileURLToPath(new URL("../../../../examples/tiny-base/", import.meta.url));
const PROMPTS_PER_TASK = 100;
const TUNING_ROWS = 19200;
const ROWS_PER_STEP = 32;
const SAMPLES_PER_TASK = 1;
/** documents of the base corpus that its training saw: 2,000 steps of 40 */
const BASE_ROWS = 80_000;

export async function demoRun({ seed, shuffled }: DemoOptions, context: Context): Promise<DemoDocument> {
  const began = performance.now();
  const files = nodeFiles();
  await requireFolder(files, BASE, "model.safetensors", "clone of tunesmith: the demo needs examples/tiny-base, which");
  const heldOut = heldOutSet(seed, PROMPTS_PER_TASK);
  const tuning = tuningSet(seed, TUNING_ROWS);
  checkDisjoint(heldOut, tuning);

  const folder = join(context.cwd, "runs", "demo");
  const data = join(context.cwd, "runs", "demo-data");
  await rm(data, { recursive: true, force: true });
  await mkdir(data, { recursive: true });
  const config = await writeData(data, folder, {
    seed,
    heldOut,
    tuning: shuffled ? withShuffledAnswers(tuning, seed) : tuning,
  });
  context.say(
    `${tuning.length} instructions of ${new Set(tuning.map((row) => row.task)).size} tasks and a config are in ${data}`,
  );

  const device = await openGpu(context);
  const score = async (adapter: string | undefined): Promise<Answered[]> => answer(heldOut, device, adapter);
  context.say(`scoring the base on ${heldOut.length} held-out prompts …`);
  const before = await score(undefined);
  const run = await trainRun(await loadConfig(config, { cwd: context.cwd }), { overwrite: true, context, device });
  context.signal.throwIfAborted();
  context.say("scoring the tuned model …");
  const adapter = run.adapter!; // its config says lora
  const after = await score(adapter);

  const [scoresBefore, scoresAfter] = [exactMatch(before), exactMatch(after)];
  const tasks = [...scoresBefore].map(([name, value]): DemoTaskScore => {
    const answers = heldOut.filter((row) => row.task === name).map((row) => row.answer);
    return {
      name,
      before: value,
      after: scoresAfter.get(name)!,
      prompts: answers.length,
      most_frequent_answer: mostFrequentShare(answers),
    };
  });
  const mean = (of: (task: DemoTaskScore) => number): number =>
    tasks.reduce((sum, task) => sum + of(task), 0) / tasks.length;
  return {
    tasks,
    before: mean((task) => task.before),
    after: mean((task) => task.after),
    seconds: (performance.now() - began) / 1000,
    adapter,
    samples: tasks.flatMap(({ name }) => {
      const rows = [...heldOut.keys()].filter((i) => heldOut[i]!.task === name).slice(0, SAMPLES_PER_TASK);
      return rows.map((i) => ({
        prompt: heldOut[i]!.prompt,
        expected: heldOut[i]!.answer,
        before: before[i]!.given,
        after: after[i]!.given,
      }));
    }),
  };
}

async function answer(
  prompts: readonly Instruction[],
  device: Device,
  adapter: string | undefined,
): Promise<Answered[]> {
  const files = nodeFiles();
  const ready = await loadReadyModel(device, files, { model: BASE, adapter, positions: 256 });
  try {
    return await answerAll(prompts, { ...ready, tokenizer: await loadTokenizer(files, BASE), files, folder: BASE });
  } finally {
    ready.model.dispose();
  }
}

/** Prompts are unseen by construction; this proves it on the very rows of this run. */
function checkDisjoint(heldOut: readonly Instruction[], tuning: readonly Instruction[]): void {
  const contents = (rows: readonly { content: string }[]): string[] => rows.map((row) => row.content);
  const base = Array.from({ length: BASE_ROWS }, (_, row) => baseDocument(0, row)).filter((row) => row.content !== "");
  const shared = sharedContent(contents(heldOut), [...contents(tuning), ...contents(base)]);
  if (shared.length > 0)
    throw new BugError(`held-out prompts share content with training: ${shared.slice(0, 5).join(", ")}`);
}

/** Rows as JSONL and a config beside them; returns the config's path. */
async function writeData(
  data: string,
  output: string,
  { seed, heldOut, tuning }: { seed: number; heldOut: readonly Instruction[]; tuning: readonly Instruction[] },
): Promise<string> {
  const jsonl = (rows: readonly Instruction[]): string =>
    rows
      .map(
        ({ task, prompt, answer: content }) =>
          `${JSON.stringify({
            messages: [
              { role: "user", content: prompt },
              { role: "assistant", content },
            ],
            task,
          })}\n`,
      )
      .join("");
  await writeFile(join(data, "train.jsonl"), jsonl(tuning));
  await writeFile(join(data, "held-out.jsonl"), jsonl(heldOut));
  const config = {
    model: BASE,
    output,
    seed,
    data: { train: [{ path: "train.jsonl" }] },
    tune: { method: "lora", r: 16, alpha: 32, target_modules: "all-linear" },
    train: { epochs: 1, batch_size: ROWS_PER_STEP, learning_rate: 5e-3, schedule: "cosine", warmup_ratio: 0.03 },
  };
  const path = join(data, "demo.yaml");
  await writeFile(
    path,
    `# what \`tunesmith demo\` trains; try \`tunesmith train\` on it with other settings\n${stringify(config)}`,
  );
  return path;
}
