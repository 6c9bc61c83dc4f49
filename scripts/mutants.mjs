// Plants each fault of tests/mutants in turn and runs the tests that must notice it. A fault that no test sees is
// a failure of the tests, and so is one whose text no longer stands in the source.
//   node scripts/mutants.mjs [NAME ...]
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { mutants } from "../tests/mutants/list.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const vitest = fileURLToPath(new URL("../node_modules/vitest/vitest.mjs", import.meta.url));

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !mutants.some((m) => m.name === name));
if (unknown.length > 0) throw new Error(`no mutant has the name "${unknown.join('", "')}"`);
const chosen = mutants.filter((m) => wanted.length === 0 || wanted.includes(m.name));
const survivors = [];
for (const { name, file, find, tests } of chosen) {
  const path = new URL(`../${file}`, import.meta.url);
  const pieces = existsSync(path) ? readFileSync(path, "utf8").split(find).length - 1 : 0;
  if (pieces !== 1) {
    console.log(`stale     ${name}: its text occurs ${pieces} times in ${file}`);
    survivors.push(name);
    continue;
  }
  const started = Date.now();
  const run = spawnSync(process.execPath, [vitest, "run", "--bail=1", ...tests], {
    cwd: root,
    env: { ...process.env, TUNESMITH_MUTANT: name },
    encoding: "utf8",
  });
  const failed = /Tests\s+.*\d+ failed/.test(run.stdout.replaceAll(/\u001b\[\d+m/g, "")); // a crash of the runner is not a test that noticed
  console.log(`${failed ? "killed   " : "SURVIVED "} ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  if (!failed) {
    survivors.push(name);
    console.log(run.stdout.slice(-2000), run.stderr.slice(-2000));
  }
}
console.log(`${chosen.length - survivors.length} of ${chosen.length} mutants killed`);
process.exitCode = survivors.length === 0 ? 0 : 1;
