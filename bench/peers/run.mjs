// Our milliseconds beside those of other WebGPU frameworks, from one run: every framework trains the same two networks
// in a process of its own, one after the other, the order reversed from round to round.
//   npm run build && node bench/peers/run.mjs [--peers DIR] [--rounds 2] [--cold] [--default-flags]
// --peers          folder with the peers' scripts; default ../shared/peers beside the clone. Without it we run alone.
// --cold           Mesa's shader cache off, so that the first step compiles everything
// --default-flags  peers run with Dawn's defaults; by default they get the flags that we run with
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { dawnFlags } from "@tunesmith/node";
import { driverEnvironment } from "../../scripts/setup/driver-env.mjs";
import { CACHE, ROOT } from "../../scripts/setup/paths.mjs";
import { PEER_LOSSES } from "./problem.mjs";
import { table } from "./table.mjs";

const LIMIT_MS = 20 * 60_000;
const TOLERANCE = 1e-4;
const NETWORKS = /** @type {const} */ (["mlp", "transformer"]);
const OURS = { peer: "tunesmith", script: join(ROOT, "bench", "peers", "tunesmith.mjs"), packages: [] };
const THEIRS = [
  { peer: "jax-js", script: "jaxjs.mjs", packages: ["@jax-js/jax"] },
  { peer: "tfjs-webgpu", script: "tfjs.mjs", packages: ["@tensorflow/tfjs", "@tensorflow/tfjs-backend-webgpu"] },
];

/** @typedef {{ peer: string, script: string, packages: readonly string[] }} Runner */

const { values: options } = parseArgs({
  options: {
    peers: { type: "string", default: join(ROOT, "..", "shared", "peers") },
    rounds: { type: "string", default: "2" },
    cold: { type: "boolean", default: false },
    "default-flags": { type: "boolean", default: false },
  },
});

const folder = join(CACHE, "peers");
const runners = [OURS, ...installPeers(resolve(options.peers))];
const flags = dawnFlags();
const results = [];
let adapter = "unknown";
for (let round = 1; round <= Number(options.rounds); round++) {
  for (const runner of round % 2 === 1 ? runners : runners.toReversed()) {
    console.error(`round ${round}: ${runner.peer}`);
    const rows = runPeer(runner);
    adapter = rows.find((row) => row.adapter)?.adapter ?? adapter;
    for (const network of NETWORKS) results.push({ round, ...measurement(runner, network, rows) });
  }
}

const header = {
  adapter,
  node: process.version,
  webgpu: installedVersion(existsSync(join(ROOT, "packages")) ? join(ROOT, "packages", "node") : ROOT, "webgpu"), // else packed
  flags: flags.join(" "),
  peer_flags: options["default-flags"] ? "" : flags.join(" "),
  shader_cache: !options.cold,
};
const kind = [slug(adapter), options.cold && "cold", options["default-flags"] && "default-flags"]
  .filter(Boolean)
  .join("-");
const file = join(ROOT, "bench", "results", `peers-${kind}.jsonl`);
mkdirSync(join(ROOT, "bench", "results"), { recursive: true });
writeFileSync(file, [header, ...results].map((row) => `${JSON.stringify(row)}\n`).join(""));
console.log(`${adapter}, Node ${process.version}, shader cache ${options.cold ? "off" : "on"}\n`);
console.log(table(results));
if (results.some((result) => !result.agrees)) process.exitCode = 1;

/**
 * Copies the peers' scripts into the cache and installs what they import there.
 * @param {string} from
 * @returns {Runner[]}
 */
function installPeers(from) {
  if (!existsSync(join(from, "package.json"))) {
    if (existsSync(join(folder, "node_modules"))) return inFolder(); // packed by bench/gpu.sh
    console.error(`${from} has no scripts of peers (see --peers): running alone`);
    return [];
  }
  const manifest = JSON.parse(readFileSync(join(from, "package.json"), "utf8"));
  const needed = ["webgpu", ...THEIRS.flatMap((runner) => runner.packages)];
  // the folder lists frameworks that cannot train, too: inference runtimes of several hundred megabytes
  manifest.dependencies = Object.fromEntries(needed.map((name) => [name, manifest.dependencies[name]]));
  mkdirSync(folder, { recursive: true });
  for (const script of ["common.mjs", ...THEIRS.map((runner) => runner.script)])
    cpSync(join(from, script), join(folder, script));
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
  const npm = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"];
  const { status } = spawnSync("npm", npm, {
    cwd: folder,
    stdio: ["ignore", "ignore", "inherit"],
    shell: process.platform === "win32", // npm is a batch file there
  });
  if (status !== 0) throw new Error(`npm install in ${folder} failed`);
  return inFolder();
}

/** @returns {Runner[]} */
function inFolder() {
  return THEIRS.map((runner) => ({ ...runner, script: join(folder, runner.script) }));
}

/**
 * The JSON lines that one framework prints.
 * @param {Runner} runner
 * @returns {any[]}
 */
function runPeer(runner) {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [runner.script, ...NETWORKS], {
    cwd: runner === OURS ? ROOT : folder,
    encoding: "utf8",
    timeout: LIMIT_MS,
    env: {
      ...process.env,
      ...driverEnvironment(),
      ...(options["default-flags"] ? {} : { DAWN_FLAGS: flags.join(" ") }),
      ...(options.cold ? { MESA_SHADER_CACHE_DISABLE: "true" } : {}),
    },
  });
  if (status !== 0) console.error(`${runner.peer} ended with ${signal ?? status}: ${stderr.slice(-2000)}`);
  return stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
}

/**
 * @param {Runner} runner
 * @param {(typeof NETWORKS)[number]} network
 * @param {any[]} rows
 */
function measurement({ peer, packages }, network, rows) {
  const row = rows.find(({ label }) => label === `${network} train step`);
  /** @type {number[]} */
  const losses = rows.find(({ label }) => label === `${network} train step losses`)?.losses ?? [];
  const expected = PEER_LOSSES[network];
  const error = Math.max(...expected.map((loss, i) => Math.abs(loss - (losses[i] ?? Number.NaN))));
  return {
    peer,
    version: packages[0] ? installedVersion(folder, packages[0]) : undefined,
    network,
    first_ms: row?.first_ms,
    median_ms: row?.median_ms,
    best_ms: row?.best_ms,
    pipelines: row?.cold.pipelines,
    dispatches: row?.per_iter.dispatches,
    submits: row?.per_iter.submits,
    bind_groups: row?.per_iter.bindGroups,
    buffers: row?.per_iter.buffers,
    losses,
    agrees: error <= TOLERANCE,
  };
}

/**
 * @param {string} from
 * @param {string} name
 * @returns {string}
 */
function installedVersion(from, name) {
  return JSON.parse(readFileSync(join(from, "node_modules", name, "package.json"), "utf8")).version;
}

/**
 * An adapter's description as part of a file name: "llvmpipe: Mesa 25 …" → "lavapipe".
 * @param {string} description
 */
function slug(description) {
  if (description.startsWith("llvmpipe")) return "lavapipe";
  return description
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .slice(0, 40);
}
