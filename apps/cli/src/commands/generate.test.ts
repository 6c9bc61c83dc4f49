// Needs a WebGPU device; software counts. What is drawn is tested with the models; here is what goes in and comes out.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";
import { modelFolder } from "../../../../tests/support/model-folder.ts";

const cwd = folderWith({
  ...modelFolder("model", { weights: true }),
  "p.jsonl": '{"prompt":"abc"}\n{"prompt":"xyz!","completion":"?"}\n',
});
const generate = (...args: string[]): ReturnType<typeof runCli> =>
  runCli(["generate", "--model", "model", ...args, "--json"], { cwd });

describe("generate", () => {
  test("one prompt: ids, their text, and why it ended", async () => {
    const { document } = await generate("--prompt", "abc", "--max-new-tokens", "5");
    expect(document()).toMatchObject({
      ids: expect.any(Array),
      text: expect.any(String),
      finish_reason: expect.stringMatching(/^(eos|length)$/),
    });
    expect((document()["ids"] as number[]).length).toBeLessThanOrEqual(5);
    expect((await generate("--prompt", "abc", "--max-new-tokens", "5")).stdout).toBe(
      (await generate("--prompt", "abc", "--max-new-tokens", "5", "--seed", "9")).stdout,
    );
  });

  test("a file: K lines per row, which the seed decides and the other rows do not", async () => {
    const sampled = ["--temperature", "1", "--max-new-tokens", "6", "--seed", "7"];
    expect((await generate("--data", "p.jsonl", "--out", "a.jsonl", "--n", "2", ...sampled)).document()).toMatchObject({
      rows: 2,
      lines: 4,
    });
    await generate("--data", "p.jsonl", "--out", "b.jsonl", "--n", "2", ...sampled);
    const lines = readFileSync(join(cwd, "a.jsonl"), "utf8");
    expect(readFileSync(join(cwd, "b.jsonl"), "utf8")).toBe(lines);
    const parsed = lines
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { row: number; sample: number; ids: number[] });
    expect(parsed.map(({ row, sample }) => [row, sample])).toEqual([
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ]);
    expect(parsed[0]!.ids).not.toEqual(parsed[1]!.ids);
    const alone = await generate("--prompt", "abc", ...sampled);
    expect(alone.document()["ids"]).toEqual(parsed[0]!.ids);
  });

  test.each([
    [["--data", "p.jsonl"], "FLAG_CONFLICT"],
    [["--prompt", "a", "--out", "x"], "FLAG_CONFLICT"],
    [["--prompt", "a", "--n", "2"], "FLAG_CONFLICT"],
    [["--prompt", "a", "--messages", "m"], "FLAG_CONFLICT"],
    [[], "FLAG_MISSING"],
    [["--prompt", "a", "--top-p", "0"], "FLAG_INVALID"],
    [["--prompt", "a", "--temperature", "-1"], "FLAG_INVALID"],
    [["--prompt", "a".repeat(200)], "CONTEXT_TOO_LONG"],
    [["--prompt", ""], "CONTEXT_TOO_LONG"],
  ])("%j is refused with %s", async (args, code) => {
    const result = await generate(...args);
    expect([result.exitCode, result.document().error.code]).toEqual([2, code]);
  });
});
