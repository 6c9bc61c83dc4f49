import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";
import { modelFolder } from "../../../../tests/support/model-folder.ts";
import type { RateRangeDocument } from "../rate-range-run.ts";

const ROWS = Array.from({ length: 16 }, (_, i) => JSON.stringify({ prompt: `${i}+1=`, completion: `${i + 1}` }));
const CONFIG = `model: model
output: run
data: {train: [{path: sums.jsonl}], eval_split: 0.25}
tune: {r: 4, target_modules: [q_proj, down_proj]}
train: {epochs: 1, batch_size: 4, optimizer: sgd}
sample: {path: none.jsonl}
`;

describe("lr-find", () => {
  const cwd = folderWith({
    ...modelFolder("model", { weights: true }),
    "sums.jsonl": ROWS.join("\n"),
    "run.yaml": CONFIG,
  });
  const find = (...args: string[]): ReturnType<typeof runCli> =>
    runCli(["lr-find", "run.yaml", "--steps", "24", "--json", ...args], { cwd });
  let found: RateRangeDocument;
  let code: number;
  beforeAll(async () => {
    const { exitCode, document } = await find("--from", "1e-3", "--to", "1e5", "--html", "range.html");
    found = document() as unknown as RateRangeDocument;
    code = exitCode;
  });

  test("the rate grows by a constant factor, and the test ends where the model breaks", () => {
    const { points, ended } = found;
    expect(code).toBe(0);
    expect(ended).not.toBe("end");
    expect(points[0]).toMatchObject({ step: 1, rate: 1e-3 });
    const factor = 1e8 ** (1 / 23);
    for (const [i, { rate, step }] of points.entries()) {
      expect(rate).toBeCloseTo(1e-3 * factor ** i, 3 - Math.log10(rate));
      expect(step).toBe(i + 1);
    }
    expect(points.at(-1)!.rate).toBeLessThan(1e5);
  });
  test("a change is against the untouched weights on the same rows", async () => {
    const first = found.points[0]!;
    expect(Math.abs(first.change)).toBeLessThan(1e-2); // after one update at a tiny rate
    expect(first.change).toBe(first.loss - first.start_loss);
    // an ordinary run at rate 0 sees the same batches
    const still = "train={max_steps: 24, batch_size: 4, learning_rate: 1.0e-30, optimizer: sgd}";
    const sample = "sample={path: sums.jsonl, steps: [999]}"; // the file that lr-find had no need of is missing
    await runCli(["train", "run.yaml", "--set", still, "--set", sample], { cwd });
    const losses = readFileSync(join(cwd, "run", "metrics.jsonl"), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { step: number; loss?: number })
      .filter(({ loss }) => loss !== undefined);
    for (const { step, start_loss: loss } of found.points) expect(loss).toBeCloseTo(losses[step]!.loss!, 6);
  });
  test("suggests a tenth of the lowest, and shows the curve", () => {
    expect(found.suggested).toBe(Number((found.lowest!.rate / 10).toPrecision(2)));
    const page = readFileSync(join(cwd, "range.html"), "utf8");
    expect(page).toContain(`Suggested: ${found.suggested}`);
    expect(page).toMatch(/<polyline[^>]*points="[\d.,\s-]{100,}"/);
    expect(page).not.toMatch(/NaN|undefined|<script|https?:/);
  });
  test("without --json it is a table", async () => {
    const { stdout } = await runCli(["lr-find", "run.yaml", "--steps", "12", "--to", "1e-5"], { cwd });
    expect(stdout).toMatch(/rate {2}change of the loss/);
    expect(stdout).toContain("learning rate: none; no rate changed the loss: test higher rates, or more updates");
  });
  test("nothing is written into the run", async () => {
    const other = folderWith({
      ...modelFolder("model", { weights: true }),
      "sums.jsonl": ROWS.join("\n"),
      "run.yaml": CONFIG,
    });
    await runCli(["lr-find", "run.yaml", "--steps", "10", "--json"], { cwd: other });
    expect(existsSync(join(other, "run"))).toBe(false);
  });
  test.each([
    [["--from", "1", "--to", "1e-3"], "FLAG_CONFLICT"],
    [["--steps", "3"], "FLAG_INVALID"],
  ])("%j is refused", async (args, code) => {
    expect((await find(...args)).document().error).toMatchObject({ code });
  });
});
