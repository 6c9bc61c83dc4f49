// The README's main job, told as a table.

import type { Context, Outcome } from "../context.ts";
import { type DemoDocument, demoRun } from "../demo/demo-run.ts";
import type { Options } from "../flags.ts";

export async function run(
  _: readonly string[],
  options: Options<"seed" | "shuffled">,
  context: Context,
): Promise<Outcome> {
  const document = await demoRun({ seed: options.seed ?? 1, shuffled: options.shuffled }, context);
  return { document, text: textOf(document) };
}

function textOf({ tasks, before, after, seconds, adapter, samples }: DemoDocument): string {
  const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
  const width = Math.max(...tasks.map((task) => task.name.length), 7);
  const line = (name: string, cells: readonly string[]): string =>
    [name.padEnd(width), ...cells.map((cell) => cell.padStart(9))].join("");
  return [
    "exact match on prompts that are in no training set",
    line("task", ["base", "tuned", "prompts", "constant"]),
    ...tasks.map((t) =>
      line(t.name, [percent(t.before), percent(t.after), String(t.prompts), percent(t.most_frequent_answer)]),
    ),
    line("mean", [percent(before), percent(after)]),
    "(constant: the score of always giving the most frequent answer)",
    "",
    ...samples.flatMap((s) => [
      s.prompt,
      `  base:  ${shorten(s.before)}`,
      `  tuned: ${shorten(s.after)}${s.after === s.expected ? "" : `   (expected ${s.expected})`}`,
    ]),
    "",
    `${seconds.toFixed(0)} s; adapter in ${adapter}`,
  ].join("\n");
}

function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
