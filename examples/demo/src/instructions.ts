// The instruction data: what tunes the base, and the prompts that score it.
import type { Split } from "./content.ts";
import { drawsOf } from "./draws.ts";
import type { DemoTask } from "./tasks.ts";
import { DEMO_TASKS } from "./tasks.ts";

/** One instruction with its answer. */
export interface Instruction {
  readonly task: string;
  readonly prompt: string;
  readonly answer: string;
  /** the word or list the instruction is about */
  readonly content: string;
}

/** `rows` instructions for tuning; the tasks take turns, everything else is drawn from (seed, row). */
export function tuningSet(seed: number, rows: number): Instruction[] {
  return Array.from({ length: rows }, (_, row) =>
    instruction(DEMO_TASKS[row % DEMO_TASKS.length]!, "tuning", seed, row),
  );
}

/** `perTask` prompts of each task on content that neither the base corpus nor any tuning set may use; no content twice. */
export function heldOutSet(seed: number, perTask: number): Instruction[] {
  return DEMO_TASKS.flatMap((task) => {
    const rows = new Map<string, Instruction>();
    for (let row = 0; rows.size < perTask; row++) {
      const drawn = instruction(task, "held_out", seed, row);
      if (!rows.has(drawn.content)) rows.set(drawn.content, drawn);
    }
    return [...rows.values()];
  });
}

function instruction(task: DemoTask, split: Split, seed: number, row: number): Instruction {
  const draws = drawsOf(seed, `${split}/${task.name}`, row);
  const content = task.draw(draws, split);
  const prompt = draws.pick(task.wordings).replace("{}", `"${content}"`);
  return { task: task.name, prompt, answer: task.answer(content), content };
}
