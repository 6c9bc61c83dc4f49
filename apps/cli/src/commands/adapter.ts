// Adapter algebra on folders: compare two, combine several, change a rank. Needs neither the base model nor a device.

import { mkdir } from "node:fs/promises";
import { resolve } from "node:path";
import {
  combineAdapters,
  type Combination,
  COMBINATIONS,
  diffAdapters,
  type PeftAdapter,
  readPeftAlone,
  resizeAdapter,
  writePeftFolder,
} from "@tunesmith/lora";
import { nodeFiles } from "@tunesmith/node";
import type { Context, Outcome } from "../context.ts";
import { CliError } from "../errors.ts";
import type { Options } from "../flags.ts";
import { checkFree, newFolder } from "../new-folder.ts";
import { requireFolder } from "../tuned-model.ts";

type Given = Options<"out" | "rank" | "weights" | "type" | "density" | "seed">;
type Action = (folders: readonly string[], options: Given, context: Context) => Promise<Outcome>;

const ACTIONS: Readonly<Record<string, { run: Action; flags: readonly (keyof Given)[] }>> = {
  diff: { run: diff, flags: [] },
  merge: { run: merge, flags: ["out", "weights", "type", "density", "rank", "seed"] },
  resize: { run: resize, flags: ["out", "rank"] },
};

export async function run([action, ...folders]: readonly string[], options: Given, context: Context): Promise<Outcome> {
  const known = Object.hasOwn(ACTIONS, action!) ? ACTIONS[action!]! : undefined;
  if (!known)
    throw new CliError("COMMAND_UNKNOWN", `unknown action \`adapter ${action}\``, {
      received: action!,
      expected: Object.keys(ACTIONS).join(" | "),
      fix: "run `tunesmith adapter --help`",
    });
  for (const flag of Object.keys(options) as (keyof Given)[])
    if (
      ["out", "rank", "weights", "type", "density", "seed"].includes(flag) &&
      options[flag] !== undefined &&
      !known.flags.includes(flag)
    )
      throw new CliError("FLAG_CONFLICT", `\`adapter ${action}\` takes no --${flag}`, {
        received: `--${flag}`,
        fix: `leave out --${flag}`,
      });
  return known.run(folders, options, context);
}

async function diff(folders: readonly string[], _: Given, context: Context): Promise<Outcome> {
  const [first, second] = await readAll(folders, context, { exactly: 2 });
  const modules = diffAdapters(first!, second!);
  const total = (of: (module: (typeof modules)[number]) => number): number => Math.hypot(...modules.map(of));
  const norm = total((module) => module.norms[0]);
  const document = {
    relative_distance: norm === 0 ? null : total((module) => module.distance) / norm,
    norms: [norm, total((module) => module.norms[1])],
    modules: modules.map(({ path, norms, distance, cosine }) => ({ path, norms, distance, cosine })),
  };
  const line = (name: string, ...numbers: number[]): string =>
    `${name}  ${numbers.map((value) => value.toPrecision(4).padStart(10)).join(" ")}`;
  const width = Math.max(...modules.map(({ path }) => path.length), 5);
  return {
    document,
    text: [
      `${"norms of the update, their distance and cosine".padEnd(width)}`,
      ...modules.map(({ path, norms, distance, cosine }) => line(path.padEnd(width), ...norms, distance, cosine)),
      line(
        "whole".padEnd(width),
        ...(document.norms as [number, number]),
        total((module) => module.distance),
      ),
    ].join("\n"),
  };
}

async function merge(folders: readonly string[], options: Given, context: Context): Promise<Outcome> {
  const type = (options.type ?? "cat") as Combination;
  if (!COMBINATIONS.includes(type))
    throw new CliError("FLAG_INVALID", `--type takes ${COMBINATIONS.join(", ")}, received ${type}`, {
      received: type,
      expected: COMBINATIONS.join(" | "),
      fix: "correct --type",
    });
  const { rank, density, seed } = options;
  const adapters = await readAll(folders, context, { atLeast: 1 });
  const weights = options.weights?.split(",").map(Number) ?? adapters.map(() => 1);
  const combined = combineAdapters(adapters, { type, weights, rank, density, seed });
  return save(combined, options, context, { type, weights });
}

async function resize(folders: readonly string[], options: Given, context: Context): Promise<Outcome> {
  if (options.rank === undefined)
    throw new CliError("FLAG_MISSING", "`adapter resize` needs --rank N", { fix: "give the rank to change to" });
  const [adapter] = await readAll(folders, context, { exactly: 1 });
  const { adapter: resized, kept } = resizeAdapter(adapter!, options.rank);
  const shares = [...kept.values()];
  return save(resized, options, context, { least_kept: Math.min(...shares), mean_kept: mean(shares) });
}

async function save(adapter: PeftAdapter, { out }: Given, context: Context, more: object): Promise<Outcome> {
  if (out === undefined)
    throw new CliError("FLAG_MISSING", "the new adapter needs a folder: --out DIR", { fix: "add --out DIR" });
  const folder = resolve(context.cwd, out);
  await checkFree(folder);
  await newFolder(folder, async (path) => {
    await mkdir(path, { recursive: true });
    await writePeftFolder(nodeFiles(), path, adapter);
  });
  const { r } = adapter.config;
  const document = { out: folder, r, modules: adapter.targets.length, ...more };
  const told = Object.entries(more).map(([key, value]) => `${key.replaceAll("_", " ")} ${String(value)}`);
  return { document, text: `rank ${r} on ${document.modules} modules in ${folder} (${told.join(", ")})` };
}

async function readAll(
  folders: readonly string[],
  context: Context,
  count: { exactly?: number; atLeast?: number },
): Promise<PeftAdapter[]> {
  if (folders.length !== (count.exactly ?? folders.length) || folders.length < (count.atLeast ?? 0))
    throw new CliError("FLAG_INVALID", `${folders.length} adapter folders given`, {
      received: String(folders.length),
      expected: count.exactly === undefined ? `at least ${count.atLeast}` : String(count.exactly),
      fix: "run `tunesmith adapter --help`",
    });
  const files = nodeFiles();
  const adapters: PeftAdapter[] = [];
  for (const folder of folders) {
    const path = resolve(context.cwd, folder);
    await requireFolder(files, path, "adapter_config.json", "adapter folder");
    adapters.push(await readPeftAlone(files, path));
  }
  return adapters;
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}
