// Runs of the command line for the recipes: a config in, losses before and after and the time out.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../scripts/setup/paths.mjs";
import { jsonLines } from "../lib/child.mjs";

/**
 * @typedef {object} Outcome
 * @property {(task: string) => number} before loss of a task before the first step, in nats per target
 * @property {(task: string) => number} after the same behind the last one
 * @property {number} lossBefore over all targets
 * @property {number} lossAfter
 * @property {number} seconds of the whole command, of which a part compiles
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
export function train({ work, log }, name, config) {
  mkdirSync(work, { recursive: true });
  const path = join(work, `${name}.yaml`); // JSON is YAML
  writeFileSync(path, JSON.stringify({ output: join(work, name), ...config }));
  console.error(name);
  const cli = join(ROOT, "bin", "tunesmith.mjs");
  const [{ seconds, output }] = jsonLines(process.execPath, [cli, "train", path, "--overwrite", "--json"]);
  const scores = readFileSync(join(output, "metrics.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line))
    .filter((line) => line.eval_loss !== undefined);
  const [first, last] = [scores[0], scores.at(-1)];
  log({ run: name, seconds, before: first.tasks, after: last.tasks });
  return {
    before: (task) => first.tasks[task].loss,
    after: (task) => last.tasks[task].loss,
    lossBefore: first.eval_loss,
    lossAfter: last.eval_loss,
    seconds,
  };
}
