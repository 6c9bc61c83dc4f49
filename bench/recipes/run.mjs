// Runs of the command line for the recipes: a config in, losses before and after out.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../scripts/setup/paths.mjs";
import { jsonLines } from "../lib/child.mjs";

/**
 * @typedef {object} Outcome
 * @property {(task: string) => number} before loss of a task before the first step, in nats per target
 * @property {(task: string) => number} after the same behind the last one
 * @property {number} lossBefore over all targets
 * @property {number} lossAfter
 */

/**
 * @typedef {object} Recipe
 * @property {string} name
 * @property {readonly string[]} columns
 * @property {(tools: Tools) => (readonly (string | number)[])[]} run rows of the table; tells its runs to `tools.log`
 */

/**
 * @typedef {object} Tools
 * @property {string} fixtures folder with models and data
 * @property {string} work folder for files and runs
 * @property {readonly number[]} seeds
 * @property {(line: object) => void} log a line of the benchmark's JSON
 */

/**
 * Trains as a config says.
 * @param {Tools} tools
 * @param {string} name of the run; its folder
 * @param {Record<string, any>} config
 * @returns {Outcome}
 */
export function train(tools, name, config) {
  return outcome(tools, name, run(tools, name, config)["output"]);
}

/**
 * The same for a config with stages; the outcome of each by its name.
 * @param {Tools} tools
 * @param {string} name
 * @param {Record<string, any>} config
 * @returns {(stage: string) => Outcome}
 */
export function trainStages(tools, name, config) {
  const { output } = run(tools, name, config);
  return (stage) => outcome(tools, `${name}/${stage}`, join(output, stage));
}

/** @param {Tools} tools @param {string} name @param {Record<string, any>} config @returns {Record<string, any>} */
function run({ work, log }, name, config) {
  const path = join(work, `${name}.yaml`); // JSON is YAML
  writeFileSync(path, JSON.stringify({ output: join(work, name), ...config }));
  console.error(name);
  const cli = join(ROOT, "bin", "tunesmith.mjs");
  const [document] = jsonLines(process.execPath, [cli, "train", path, "--overwrite", "--json"]);
  log({ run: name, seconds: document.seconds });
  return document;
}

/** @param {Tools} tools @param {string} name @param {string} folder of the run @returns {Outcome} */
function outcome({ log }, name, folder) {
  const scores = readFileSync(join(folder, "metrics.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line))
    .filter((line) => line.eval_loss !== undefined);
  const [first, last] = [scores[0], scores.at(-1)];
  log({ run: name, before: first.tasks, after: last.tasks });
  return {
    before: (task) => first.tasks[task].loss,
    after: (task) => last.tasks[task].loss,
    lossBefore: first.eval_loss,
    lossAfter: last.eval_loss,
  };
}
