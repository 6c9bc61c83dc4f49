// examples/train-in-code.ts: a run against public exports, as short as it says, and it learns.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test, vi } from "vitest";
import { trainInCode } from "../examples/train-in-code.ts";
import { folderWith, runCli } from "./support/cli.ts";
import { modelFolder } from "./support/model-folder.ts";

const EXAMPLE = fileURLToPath(new URL("../examples/train-in-code.ts", import.meta.url));

test("a run takes less than 40 lines", () => {
  const text = readFileSync(EXAMPLE, "utf8");
  expect(text.trimEnd().split("\n").length).toBeLessThan(40);
  for (const [, name] of text.matchAll(/from "(.*)"/g)) expect(name).toMatch(/^@tunesmith\/[a-z]+$/);
});

test("the adapter it writes has learnt its rows", async () => {
  const rows = Array.from({ length: 16 }, (_, i) =>
    JSON.stringify({ prompt: `${i % 4}+1=`, completion: `${(i % 4) + 1}` }),
  );
  const cwd = folderWith({ ...modelFolder("model", { weights: true }), "rows.jsonl": rows.join("\n") });
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  await trainInCode(join(cwd, "model"), join(cwd, "rows.jsonl"), join(cwd, "adapter"));
  expect(log.mock.calls).toHaveLength(12);
  log.mockRestore();
  const scored = async (...adapter: string[]): Promise<number> => {
    const { document } = await runCli(["eval", "--model", "model", ...adapter, "--data", "rows.jsonl", "--json"], {
      cwd,
    });
    return document()["loss"] as number;
  };
  expect(await scored("--adapter", "adapter")).toBeLessThan((await scored()) / 2);
});
