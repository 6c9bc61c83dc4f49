// Instruction tuning on public prompts of T0 (38 files of at most 200 rows {prompt, completion}, two of them empty).
import { readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { median } from "../lib/stats.mjs";
import { train } from "./run.mjs";

/** @import { Recipe, Tools } from "./run.mjs" */

/** Tasks whose answers are texts of their own, in two groups of which one is favoured at a time. */
const GROUPS = [
  [
    "gigaword_TLDR",
    "cosmos_qa_no_prompt_text",
    "quarel_heres_a_story",
    "commonsense_qa_answer_given_question_without_options",
  ],
  [
    "social_i_qa_Generate_the_question_from_the_answer",
    "qasc_qa_with_separated_facts_4",
    "sciq_Multiple_Choice_Closed_Book_",
    "kilt_tasks_hotpotqa_straighforward_qa",
  ],
];

/** Tasks that the model is never trained on; none of the others is made from their data. */
const UNSEEN = [
  "amazon_polarity_Is_this_product_review_positive",
  "commonsense_qa_answer_given_question_without_options",
  "gigaword_TLDR",
  "glue_mrpc_replace",
  "kilt_tasks_hotpotqa_straighforward_qa",
  "quarel_heres_a_story",
  "social_i_qa_Generate_the_question_from_the_answer",
  "xsum_DOC_boils_down_to_simple_idea_that",
];

/** Of a prompt the end is kept: the model has 512 positions, two or three characters each, and the question stands last. */
const PROMPT_CHARACTERS = 700;

/**
 * The rows of a task as this model can use them; without the end mark of the tokenizer they were made for, which ours would
 * learn to spell.
 * @param {Tools} tools
 * @param {string} task
 * @returns {string} path
 */
function file({ fixtures, work }, task) {
  const rows = readFileSync(join(fixtures, "data", "t0_tasks", `${task}.jsonl`), "utf8")
    .trimEnd()
    .split("\n");
  const path = join(work, `${task}.jsonl`);
  const usable = rows.map((row) => {
    const { prompt, completion } = JSON.parse(row);
    return JSON.stringify({
      prompt: prompt.slice(-PROMPT_CHARACTERS),
      completion: completion.replace("<|endoftext|>", ""),
    });
  });
  writeFileSync(path, usable.join("\n"));
  return path;
}

/** @param {Tools} tools @param {number} seed */
const base = ({ fixtures }, seed) => ({
  model: join(fixtures, "models", "stories260K"),
  seed,
  tune: { method: "lora", r: 16, alpha: 32 },
  gates: { max_lost: 0.5 }, // of long answers the end is cut
});

/** Eight tasks with λ 4 : 1 and 1 : 4. @type {Recipe} */
export const weights = {
  name: "weights",
  columns: ["task", "loss before", "after, λ = 4", "after, λ = 1", "fall λ 4 : λ 1"],
  run(tools) {
    /** @type {Record<string, { before: number[], favoured: number[], other: number[] }>} */
    const tasks = {};
    for (const seed of tools.seeds)
      for (const favoured of [0, 1]) {
        const entries = GROUPS.flatMap((group, k) =>
          group.map((task) => ({ path: file(tools, task), sampling_weight: 1, loss_weight: k === favoured ? 4 : 1 })),
        );
        const { before, after } = train(tools, `weights-${favoured}-${seed}`, {
          ...base(tools, seed),
          data: { train: entries, eval_split: 0.25, overlong: "truncate" },
          train: { max_steps: 60, batch_size: 16, learning_rate: 2e-3, objective: "task_mean" },
          eval: { every: 1000 },
        });
        for (const [k, group] of GROUPS.entries())
          for (const task of group) {
            const at = (tasks[task] ??= { before: [], favoured: [], other: [] });
            at.before.push(before(task));
            at[k === favoured ? "favoured" : "other"].push(after(task));
          }
      }
    const rows = Object.entries(tasks).map(([task, losses]) => ({
      task,
      before: median(losses.before),
      favoured: median(losses.favoured),
      other: median(losses.other),
    }));
    const row = (/** @type {string} */ name, /** @type {typeof rows} */ of) => {
      const mean = (/** @type {"before" | "favoured" | "other"} */ key) =>
        of.reduce((sum, losses) => sum + losses[key], 0) / of.length;
      const [before, favoured, other] = [mean("before"), mean("favoured"), mean("other")];
      return [name, before, favoured, other, (before - favoured) / (before - other)];
    };
    return [
      ...rows.map((losses) => row(losses.task, [losses])),
      ...GROUPS.map((group, k) =>
        row(
          `group ${k + 1}, mean`,
          rows.filter(({ task }) => group.includes(task)),
        ),
      ),
    ];
  },
};

/** Trained on 28 tasks, scored on 8 others before and after. @type {Recipe} */
export const unseen = {
  name: "unseen",
  columns: ["unseen task", "loss before", "after", "change, %"],
  run(tools) {
    const folder = join(tools.fixtures, "data", "t0_tasks");
    const seen = readdirSync(folder)
      .filter((name) => name.endsWith(".jsonl") && statSync(join(folder, name)).size > 0)
      .map((name) => name.slice(0, -".jsonl".length))
      .filter((task) => !UNSEEN.includes(task));
    const runs = tools.seeds.map((seed) =>
      train(tools, `unseen-${seed}`, {
        ...base(tools, seed),
        data: {
          train: seen.map((task) => ({ path: file(tools, task) })),
          eval: UNSEEN.map((task) => ({ path: file(tools, task) })),
          overlong: "truncate",
        },
        train: { max_steps: 120, batch_size: 16, learning_rate: 2e-3 },
        eval: { every: 10_000 },
      }),
    );
    const row = (/** @type {string} */ name, /** @type {number} */ before, /** @type {number} */ after) => [
      name,
      before,
      after,
      100 * (after / before - 1),
    ];
    return [
      ...UNSEEN.map((task) =>
        row(task, median(runs.map((run) => run.before(task))), median(runs.map((run) => run.after(task)))),
      ),
      row("all", median(runs.map((run) => run.lossBefore)), median(runs.map((run) => run.lossAfter))),
    ];
  },
};
