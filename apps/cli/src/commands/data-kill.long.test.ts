// `data prepare` killed at any moment leaves nothing that a later run could mistake for rows.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { folderWith } from "../../../../tests/support/cli.ts";
import { modelFolder } from "../../../../tests/support/model-folder.ts";

const BIN = fileURLToPath(new URL("../../../../bin/tunesmith.mjs", import.meta.url));
const rows = Array.from({ length: 30_000 }, (_, i) =>
  JSON.stringify({ prompt: `row ${i}`, completion: "y".repeat(20 + (i % 7)) }),
);

/** Runs the program; with `killAfter` it is killed that many milliseconds after it has finished a shard. */
function prepare(cwd: string, cache: string, killAfter?: number): Promise<number | null> {
  const argv = [BIN, "data", "prepare", "run.yaml", "--set", `data.cache=${cache}`];
  const before = shardsIn(join(cwd, cache));
  const child = spawn(process.execPath, argv, { cwd, stdio: "ignore" });
  const watch = setInterval(() => {
    if (killAfter === undefined || shardsIn(join(cwd, cache)) === before) return;
    clearInterval(watch);
    setTimeout(() => child.kill("SIGKILL"), killAfter);
  }, 2);
  return new Promise((done) =>
    child.on("close", (code) => {
      clearInterval(watch);
      done(code);
    }),
  );
}

function shardsIn(folder: string): number {
  if (!existsSync(folder)) return 0;
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => /[/\\]shard[^/\\]*$/.test(name))
    .length;
}

/** SHA-256 of every shard and manifest. */
function hashes(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
    /(?:^|[/\\])(?:shard|manifest)[^/\\]*$/.test(name),
  );
  return Object.fromEntries(
    names.map((name) => [
      name,
      createHash("sha256")
        .update(readFileSync(join(folder, name)))
        .digest("hex"),
    ]),
  );
}

test("killed after every shard, it ends in the bytes of a run that nobody killed", async () => {
  const cwd = folderWith({
    ...modelFolder("model"),
    "run.yaml": "model: model\noutput: run\ndata:\n  train: [{path: d.jsonl}]\n",
    "d.jsonl": rows.join("\n"),
  });
  expect(await prepare(cwd, "whole")).toBe(0);
  const expected = hashes(join(cwd, "whole"));
  expect(Object.keys(expected).length).toBe(9);
  let killed = 0;
  // between one shard and the next: while rows are tokenized, joined, hashed, written, renamed
  while ((await prepare(cwd, "torn", (killed * 13) % 60)) !== 0) killed++;
  console.log(`${killed} runs killed`);
  expect(killed).toBeGreaterThan(2);
  expect(hashes(join(cwd, "torn"))).toEqual(expected);
});
