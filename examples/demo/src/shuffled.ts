// The control of the demo: the same prompts and the same answers, but each answer at another prompt of its task.
// A run on it must not learn the tasks; if it did, the score would not measure them.
import { drawsOf } from "./draws.ts";
import type { Instruction } from "./instructions.ts";

/** `rows` with the answers of each task permuted among its rows, a pure function of (seed, rows). */
export function withShuffledAnswers(rows: readonly Instruction[], seed: number): Instruction[] {
  const byTask = new Map<string, string[]>();
  for (const { task, answer } of rows) byTask.set(task, [...(byTask.get(task) ?? []), answer]);
  for (const [task, answers] of byTask) {
    const draws = drawsOf(seed, `shuffled/${task}`, 0);
    for (let last = answers.length - 1; last > 0; last--) {
      const other = draws.int(last + 1);
      [answers[last], answers[other]] = [answers[other]!, answers[last]!];
    }
  }
  return rows.map((row) => ({ ...row, answer: byTask.get(row.task)!.pop()! }));
}
