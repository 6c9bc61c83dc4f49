import type { EvalEvent, StepEvent } from "@tunesmith/sft";
import { describe, expect, test } from "vitest";
import type { PlanDocument } from "./run-plan.ts";
import { reportHtml, type RunReport } from "./run-report.ts";

const score = (loss: number): EvalEvent["result"]["tasks"][string] => ({
  loss,
  perplexity: Math.exp(loss),
  token_accuracy: 0.5,
  targets: 7,
});
const evalAt = (step: number, a: number, b: number): EvalEvent => ({
  type: "eval",
  step,
  result: { ...score((a + b) / 2), tasks: { a: score(a), b: score(b) } },
});
function stepAt(step: number, tasks: StepEvent["tasks"]): StepEvent {
  const unused = { total_steps: 9, grad_norm: 1, tokens: 0, padded_tokens: 0, target_tokens: 0 };
  return { type: "step", step, loss: 99, lr: 0.1, ...unused, tasks, timing: { seconds: 1, tokens_per_second: 1 } };
}
const report = (change: Partial<RunReport> = {}): string =>
  reportHtml({
    name: "first <run>",
    method: "lora",
    plan: { parameters: { total: 100, trainable: 10 }, peak_bytes: 2048 } as PlanDocument,
    end: { steps: 9, total_steps: 9, kept_step: 9, stopped: undefined, test: undefined },
    events: [],
    samples: [],
    config: "seed: 0",
    ...change,
  });
const cells = (html: string): string[][] =>
  [...html.matchAll(/<tr>(.*?)<\/tr>/g)].map(([, row]) => [...row!.matchAll(/<t[dh][^>]*>(.*?)<\/t[dh]>/g)].map(([, text]) => text!)); // prettier-ignore
/** Names under each chart. */
const legends = (html: string): string[] => [...html.matchAll(/class="legend">(.*?)<\/p>/g)].map(([, text]) => text!);

describe("a report", () => {
  test("of a run that did nothing is a page all the same", () => {
    const html = report();
    expect(html).toContain("<h1>first &lt;run&gt;</h1>");
    expect(html).toContain("9 of 9 steps; handed over is the last state");
    expect(html).not.toMatch(/NaN|undefined/);
  });
  test("scores of start, best, end and test, by task", () => {
    const end = { steps: 9, total_steps: 20, kept_step: 5, stopped: "patience", test: evalAt(5, 1.5, 2.5).result };
    const html = report({ end, events: [evalAt(0, 4, 5), evalAt(5, 1, 2), evalAt(9, 2, 3)] });
    expect(html).toContain("9 of 20 steps, stopped by eval.patience; handed over is the state after step 5");
    const rows = cells(html).map((row) => row.slice(0, 3));
    expect(rows).toEqual([
      ["when", "task", "loss"],
      ["eval, step 0", "all", "4.5000"],
      ["eval, step 0", "a", "4"],
      ["eval, step 0", "b", "5"],
      ["eval, step 5 (best)", "all", "1.5000"],
      ["eval, step 5 (best)", "a", "1"],
      ["eval, step 5 (best)", "b", "2"],
      ["eval, step 9", "all", "2.5000"],
      ["eval, step 9", "a", "2"],
      ["eval, step 9", "b", "3"],
      ["test, step 5", "all", "2"],
      ["test, step 5", "a", "1.5000"],
      ["test, step 5", "b", "2.5000"],
    ]);
    expect(legends(html)[1]).toMatch(/a .*b/);
  });
  test("the training curve is a token mean, whatever the objective is", () => {
    const tasks = { a: { loss: 1, targets: 30 }, b: { loss: 3, targets: 10 } };
    const html = report({ events: [stepAt(1, tasks), stepAt(2, { a: { loss: 2.5, targets: 4 } })] });
    // 1.5 and 2.5 lie at the ends of the axis; 99 is the objective
    expect(html).toMatch(/>1\.6<|>1\.5<|>1\.4</);
    expect(html).not.toContain(">100<");
  });
  test("first and last samples stand side by side, as text", () => {
    const sample = (step: number, text: string): RunReport["samples"][number] => [{ step, row: 0, prompt: "p", text }];
    expect(cells(report({ samples: [sample(0, "<b>"), sample(8, "new")] }))).toEqual([
      ["prompt", "after step 0", "after step 8"],
      ["p", "&lt;b&gt;", "new"],
    ]);
    expect(cells(report({ samples: [sample(3, "one")] }))[0]).toEqual(["prompt", "after step 3"]);
  });
});
