// Continued pretraining on Shakespeare (all weights), then instructions (LoRA on GSM8K), as one config with two stages.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { median } from "../lib/stats.mjs";
import { gsm8k } from "./gsm8k.mjs";
import { trainStages } from "./run.mjs";

/** @import { Recipe, Tools } from "./run.mjs" */

/** The first nine tenths of the text to train on, the last to score. @param {Tools} tools */
function shakespeare({ fixtures, work }) {
  const text = readFileSync(join(fixtures, "data", "text", "tinyshakespeare.txt"), "utf8");
  const cut = text.lastIndexOf("\n\n", 0.9 * text.length);
  const parts = { train: text.slice(0, cut), eval: text.slice(cut + 2) };
  const path = (/** @type {string} */ part) => join(work, `shakespeare-${part}.txt`);
  for (const [part, content] of Object.entries(parts)) writeFileSync(path(part), content);
  return { train: [{ path: path("train"), name: "plays" }], eval: { path: path("eval"), name: "plays", max_rows: 32 } };
}

/** @type {Recipe} */
export const stages = {
  name: "stages",
  columns: ["state", "Shakespeare loss", "GSM8K loss"],
  run(tools) {
    const plays = shakespeare(tools);
    const runs = tools.seeds.map((seed) => {
      const { data, tune, train, ...rest } = gsm8k(tools, seed);
      const stage = trainStages(tools, `stages-${seed}`, {
        ...rest,
        data: { eval: [...data.eval, plays.eval] },
        stages: [
          {
            name: "domain",
            data: { train: plays.train },
            tune: { method: "full" },
            train: { max_steps: 150, batch_size: 4, learning_rate: 1e-3 },
          },
          { name: "instruct", data: { train: data.train }, tune, train },
        ],
      });
      return { domain: stage("domain"), instruct: stage("instruct") };
    });
    const losses = (/** @type {(run: (typeof runs)[number], task: string) => number} */ of) =>
      ["plays", "gsm8k"].map((task) => median(runs.map((run) => of(run, task))));
    return [
      ["base", ...losses(({ domain }, task) => domain.before(task))],
      ["after the plays", ...losses(({ domain }, task) => domain.after(task))],
      ["after the instructions", ...losses(({ instruct }, task) => instruct.after(task))],
    ];
  },
};
