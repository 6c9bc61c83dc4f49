// `data prepare`: a config's rows to tokens ahead of a run, whole or in parts that a scheduler fans out. Needs no device.

import { nodeFiles } from "@tunesmith/node";
import type { LoadedConfig } from "../config/load.ts";
import { configError } from "../config/problem.ts";
import { loadRuns } from "../config/stages.ts";
import type { Context, Outcome } from "../context.ts";
import { CliError } from "../errors.ts";
import type { Options } from "../flags.ts";
import { prepareRunData } from "../run-data.ts";
import { perStage, planned } from "../stages/planned.ts";

export async function run(
  [verb, path]: readonly string[],
  options: Options<"set" | "shard">,
  context: Context,
): Promise<Outcome> {
  if (verb !== "prepare")
    throw new CliError("FLAG_INVALID", `data does not know \`${verb}\``, {
      received: String(verb),
      expected: "prepare",
      fix: "write `tunesmith data prepare CONFIG.yaml`",
    });
  const part = partOf(options.shard);
  const runs = await loadRuns(path!, { cwd: context.cwd, sets: options.set });
  return perStage(await planned(runs, nodeFiles(), context), (run) => prepare(run, part));
}

async function prepare(loaded: LoadedConfig, part: { index: number; of: number }): Promise<Outcome> {
  const { cache } = loaded.config.data;
  if (cache === null)
    throw configError(
      {
        code: "CONFIG_KEY_MISSING",
        key: ["data", "cache"],
        message: "is missing: there is no folder for prepared rows",
        fix: "add data.cache to the config or give --set data.cache=FOLDER",
      },
      loaded.source,
    );
  const reports = await prepareRunData(loaded, { files: nodeFiles(), now: new Date() }, part);
  const files = reports.map(({ path: file, folder, rows, shards, written, manifest }) => ({
    path: file,
    folder,
    rows,
    shards,
    written,
    complete: manifest !== undefined,
    ...(manifest === undefined
      ? {}
      : { examples: manifest.counts.examples, tokens: manifest.counts.tokens, rows_skipped: manifest.counts.skipped }),
  }));
  const document = { cache, complete: files.every((file) => file.complete), files };
  const lines = files.map(
    ({ path: file, rows, shards, written, complete }) =>
      `${file}: ${rows} rows, ${written} of ${shards} shards written now${complete ? "" : ", others are still missing"}`,
  );
  return {
    document,
    text: [...lines, document.complete ? `${cache} is complete` : `${cache} is not complete yet`].join("\n"),
  };
}

/** `--shard 2/8` is part 1 of 8, from 0. */
function partOf(text: string | undefined): { index: number; of: number } {
  if (text === undefined) return { index: 0, of: 1 };
  const [, number, of] = (/^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? []).map(Number);
  if (number !== undefined && of !== undefined && number >= 1 && number <= of) return { index: number - 1, of };
  throw new CliError("FLAG_INVALID", `--shard takes I/N with 1 ≤ I ≤ N, received ${text}`, {
    received: text,
    expected: "I/N, for example 1/4",
    fix: "correct --shard",
  });
}
