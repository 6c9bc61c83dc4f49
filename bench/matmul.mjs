// Square products of ours beside those of other WebGPU frameworks and of the kernel that textbooks teach: one process
// per framework, all open at once, taking turns, the order reversed from round to round, so that what else the computer
// does hits all alike. All wait in the same way and run with the same flags of Dawn.
//   npm run build && node bench/matmul.mjs [--peers DIR] [--sizes 512,1024] [--rounds 7]
// --peers   folder with the peers' scripts and an npm install of their package.json; default .cache/peers-run in the
//           clone. Without it the textbook alone is the rival.
// "× best rival" is the median over rounds of the fastest rival's time in that round by ours; "by CPU" the same of CPU time,
// which other jobs disturb less.
// Times of single shapes, formats and kernel variants of ours: bench/matmul/shapes.mjs.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { dawnFlags } from "@tunesmith/node";
import { driverEnvironment } from "../scripts/setup/driver-env.mjs";
import { CACHE, ROOT } from "../scripts/setup/paths.mjs";
import { meaning, normals, product, relativeError, words } from "./matmul/problem.mjs";

const { values: options } = parseArgs({
  options: {
    peers: { type: "string", default: join(CACHE, "peers-run") },
    sizes: { type: "string", default: "512,1024" },
    rounds: { type: "string", default: "7" },
  },
});
const TURN_MS = 150; // a turn repeats its product for about as long

/** @typedef {{ ask: (message: object) => Promise<any>, end: () => void, rivals: string[], facts: Record<string, string> }} Process */

/**
 * @param {readonly string[]} args
 * @param {string} cwd
 * @returns {Promise<Process>}
 */
async function start(args, cwd) {
  const child = spawn(process.execPath, args, {
    cwd,
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    serialization: "advanced",
    env: { ...process.env, ...driverEnvironment(), DAWN_FLAGS: dawnFlags().join(" ") },
  });
  const ended = new Promise((_, failed) => {
    child.once("exit", (code, signal) => failed(new Error(`${args.at(-1)} ended with ${signal ?? code}`)));
  });
  ended.catch(() => {}); // at our own end it is killed
  const answer = () => Promise.race([ended, new Promise((done) => void child.once("message", done))]);
  const { rivals, facts } = /** @type {any} */ (await answer());
  return {
    rivals,
    facts,
    end: () => void child.kill(),
    async ask(message) {
      const answered = answer();
      child.send(message);
      const reply = /** @type {any} */ (await answered);
      if (reply.error) throw new Error(`${args.at(-1)}: ${reply.error}`);
      return reply;
    },
  };
}

const peers = resolve(options.peers);
const hasPeers = existsSync(join(peers, "node_modules"));
if (!hasPeers) console.error(`${peers} has no installed peers (see --peers): the textbook is the only rival`);
const script = pathToFileURL(join(ROOT, "bench", "matmul", "peers.mjs")).href;
const processes = [await start([join(ROOT, "bench", "matmul", "tunesmith.mjs")], ROOT)];
for (const name of hasPeers ? ["jax-js", "tfjs-webgpu", "onnxruntime-web"] : []) {
  const text = `const { main } = await import(${JSON.stringify(script)}); await main((it) => import(it), "${name}");`;
  processes.push(await start(["--input-type=module", "--eval", text, name], peers));
}
const rivals = processes.flatMap((process) => process.rivals.map((name) => ({ name, ask: process.ask })));
const adapter = processes[0]?.facts["adapter"] ?? "unknown";
console.log(`${adapter}, Node ${process.version}`);

/** @param {number[]} values */
const median = (values) => values.toSorted((x, y) => x - y)[values.length >> 1] ?? Number.NaN;
const lines = [];
for (const n of options.sizes.split(",").map(Number)) {
  const [a, b] = [normals(n * n, 1), normals(n * n, 2)];
  const wanted = new Map([["f32", product(a, b, n)]]);
  for (const format of /** @type {const} */ (["f16", "bf16"]))
    wanted.set(format, product(a, meaning(words(b, format), format), n));
  /** @type {{ name: string, ask: Process["ask"], format: string, error: number, first: number, times: number, ms: number[], cpu: number[] }[]} */
  const entries = [];
  for (const rival of rivals) {
    const { result, first } = await rival.ask({ rival: rival.name, n, times: 1, read: true });
    const format = /bf16$|f16$/.exec(rival.name)?.[0] ?? "f32";
    const error = relativeError(result, /** @type {Float64Array} */ (wanted.get(format)));
    const { ms } = await rival.ask({ rival: rival.name, n, times: 1 });
    entries.push({
      ...rival,
      format,
      error,
      first,
      times: Math.max(1, Math.round(TURN_MS / ms)),
      ms: [],
      cpu: [],
    });
  }
  for (let round = 0; round < Number(options.rounds); round++)
    for (const entry of round % 2 === 0 ? entries : entries.toReversed()) {
      const { ms, cpu } = await entry.ask({ rival: entry.name, n, times: entry.times });
      entry.ms.push(ms);
      entry.cpu.push(cpu);
    }
  const theirs = entries.filter(({ name }) => !name.startsWith("tunesmith"));
  /** @type {(of: "ms" | "cpu", round: number) => number} */
  const best = (of, round) => Math.min(...theirs.map((entry) => entry[of][round] ?? Infinity));
  console.log(`\n${n} × ${n} × ${n}`.padEnd(24), "GFLOP/s  × best rival  by CPU   max error   first ms");
  for (const { name, ms, cpu, error, first } of entries) {
    const flops = 2 * n ** 3;
    const row = {
      size: n,
      name,
      gflops: flops / median(ms) / 1e6,
      gflops_per_cpu_s: flops / median(cpu) / 1e6,
      times_best_rival: median(ms.map((x, round) => best("ms", round) / x)),
      times_best_rival_cpu: median(cpu.map((x, round) => best("cpu", round) / x)),
      error,
      first_ms: first,
      ms,
      cpu_ms: cpu,
    };
    lines.push(row);
    const numbers = [row.gflops.toFixed(1), row.times_best_rival.toFixed(2), row.times_best_rival_cpu.toFixed(2)];
    console.log(
      name.padEnd(20),
      numbers.map((x) => x.padStart(10)).join(""),
      error.toExponential(1).padStart(12),
      first.toFixed(0).padStart(10),
    );
  }
}
for (const { end } of processes) end();
const header = { adapter, node: process.version, rounds: Number(options.rounds), flags: dawnFlags().join(" ") };
mkdirSync(join(ROOT, "bench", "results"), { recursive: true });
const mesa = /Mesa ([\d.]+)/.exec(adapter)?.[1];
const kind = mesa ? `lavapipe-${mesa}` : adapter.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").slice(0, 40); // prettier-ignore
writeFileSync(
  join(ROOT, "bench", "results", `matmul-${kind}.jsonl`),
  [header, ...lines].map((line) => `${JSON.stringify(line)}\n`).join(""),
);
