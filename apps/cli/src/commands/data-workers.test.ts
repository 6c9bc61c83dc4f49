// Worker threads need the compiled package, so these tests run the program itself.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type CliDocument, folderWith, runCli } from "../../../../tests/support/cli.ts";
import { modelFolder } from "../../../../tests/support/model-folder.ts";

const BIN = fileURLToPath(new URL("../../../../bin/tunesmith.mjs", import.meta.url));
const row = (i: number): string => {
  const user = { role: "user", content: `say ${i} é🦊` };
  return JSON.stringify({
    messages: [user, { role: "assistant", content: "yes ".repeat(1 + (i % 3)) }],
    task: `t${i % 2}`,
  });
};
const rows = Array.from({ length: 1500 }, (_, i) => row(i));
rows[700] = '{"messages": [}';
const folder = (onBadRow: string): string =>
  folderWith({
    ...modelFolder("model"),
    "run.yaml": `model: model\noutput: run\ndata:\n  cache: c\n  on_bad_row: ${onBadRow}\n  train: [{path: d.jsonl}]\n`,
    "d.jsonl": rows.join("\n"),
  });

/** SHA-256 of every file below a folder. */
function hashes(path: string): Record<string, string> {
  const names = readdirSync(path, { recursive: true, encoding: "utf8" }).filter((name) => name.includes("."));
  return Object.fromEntries(
    names.map((name) => [
      name,
      createHash("sha256")
        .update(readFileSync(join(path, name)))
        .digest("hex"),
    ]),
  );
}

function prepare(cwd: string): { status: number | null; document: CliDocument } {
  const argv = [BIN, "data", "prepare", "run.yaml", "--set", "data.workers=2", "--json"];
  const { status, stdout } = spawnSync(process.execPath, argv, { cwd, encoding: "utf8" });
  return { status, document: JSON.parse(stdout) as CliDocument };
}

test("two threads write the bytes that none write", async () => {
  const cwd = folder("skip");
  const { status, document } = prepare(cwd);
  expect({ status, complete: document["complete"] }).toEqual({ status: 0, complete: true });
  const far = hashes(join(cwd, "c"));
  const here = await runCli(["data", "prepare", "run.yaml", "--set", "data.workers=0", "--set", "data.cache=here"], {
    cwd,
  });
  expect(here.exitCode).toBe(0);
  expect(Object.keys(far)).toHaveLength(2);
  expect(hashes(join(cwd, "here"))).toEqual(far);
});

test("a bad row comes back from a thread as the error it is", () => {
  const { status, document } = prepare(folder("error"));
  expect(status).toBe(2);
  expect(document.error).toMatchObject({
    code: "JSON_INVALID",
    line: 701,
    message: expect.stringContaining("d.jsonl:701") as string,
  });
  expect(document.error.byte).toBeGreaterThan(0);
});
