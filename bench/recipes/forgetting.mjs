// What learning GSM8K costs the stories that the base was made of: alone, with stories trained in between, and held to the base
// on stories by KL divergence.
import { join } from "node:path";
import { median } from "../lib/stats.mjs";
import { gsm8k } from "./gsm8k.mjs";
import { train } from "./run.mjs";

/** @import { Recipe } from "./run.mjs" */

/** @type {Recipe} */
export const forgetting = {
  name: "forgetting",
  columns: ["training", "GSM8K loss before", "after", "TinyStories loss before", "after", "rise"],
  run(tools) {
    const text = (/** @type {string} */ name) => join(tools.fixtures, "data", "text", name);
    const config = (/** @type {number} */ seed) => {
      const { data, ...rest } = gsm8k(tools, seed);
      const stories = { path: text("TinyStories-valid_30k.txt"), sample_by: "line", name: "stories" };
      return { ...rest, data: { ...data, eval: [...data.eval, stories] } };
    };
    const guarded = (/** @type {number} */ seed) => {
      const { data, train: settings, ...rest } = config(seed);
      const [math] = data.train;
      const stories = { path: text("tinystories_197k.txt"), name: "stories", sampling_weight: 0.2, loss_weight: 0.5 };
      return {
        ...rest,
        data: { ...data, train: [{ ...math, sampling_weight: 0.8, loss_weight: 1 }, stories] },
        train: { ...settings, batch_size: 10, objective: "task_mean" }, // as many rows of GSM8K per step
      };
    };
    const held = (/** @type {number} */ seed) => {
      const stories = { path: text("tinystories_197k.txt"), name: "stories", max_length: 128 };
      return { ...config(seed), regularize: { kl_to_base: 0.3, replay: [stories], replay_batch_size: 4 } };
    };
    return Object.entries({
      "GSM8K alone": config,
      "with a fifth of stories": guarded,
      "held to the base on stories": held,
    }).map(([name, of]) => {
      const runs = tools.seeds.map((seed) => train(tools, `forgetting-${of.name}-${seed}`, of(seed)));
      const task = (/** @type {"before" | "after"} */ when, /** @type {string} */ key) =>
        median(runs.map((run) => run[when](key)));
      const [before, after] = [task("before", "stories"), task("after", "stories")];
      return [name, task("before", "gsm8k"), task("after", "gsm8k"), before, after, after - before];
    });
  },
};
