// Fine-tuning that works, on a trained model and real data: each recipe trains stories260K through the command line and
// prints a table; medians over seeds.
//   npm run build && node bench/recipes.mjs [--only NAME] [--seeds 0,1,2] [--fixtures DIR] [--out FILE]
// --only      weights, unseen …; may be repeated; default: all
// --fixtures  folder with models/stories260K and data/; default ../shared/fixtures beside the clone
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../scripts/setup/paths.mjs";
import { report } from "./lib/report.mjs";
import { forgetting } from "./recipes/forgetting.mjs";
import { stages } from "./recipes/stages.mjs";
import { unseen, weights } from "./recipes/t0.mjs";

const { values: options } = parseArgs({
  options: {
    only: { type: "string", multiple: true },
    seeds: { type: "string", default: "0,1,2" },
    fixtures: { type: "string", default: join(ROOT, "..", "shared", "fixtures") },
    out: { type: "string" },
  },
});
const recipes = [stages, weights, unseen, forgetting];
const only = options.only ?? recipes.map(({ name }) => name);
const unknown = only.filter((name) => !recipes.some((recipe) => recipe.name === name));
if (unknown.length > 0)
  throw new Error(`no recipe ${unknown.join(", ")}; there are ${recipes.map(({ name }) => name).join(", ")}`);
const fixtures = resolve(options.fixtures);
if (!existsSync(join(fixtures, "models", "stories260K")))
  throw new Error(`${fixtures} has no models/stories260K: name the folder with --fixtures`);

const work = mkdtempSync(join(tmpdir(), "tunesmith-recipes-"));
try {
  for (const { name, columns, run } of recipes.filter((recipe) => only.includes(recipe.name))) {
    /** @type {object[]} */
    const lines = [{ benchmark: "recipes", recipe: name, node: process.version, seeds: options.seeds }];
    const seeds = options.seeds.split(",").map(Number);
    const rows = run({ fixtures, work, seeds, log: (line) => lines.push(line) });
    report({ lines, columns, rows, out: options.out && `${options.out}-${name}.jsonl` });
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
