// Rows to examples (read, parse, render, encode, mask, shift) in MB of JSONL per second: on the main thread and in worker
// threads, in turns, with a hash of the examples that must not depend on the threads.
//   npm run build && node bench/tokenize.mjs [--model DIR] [--data FILE] [--chat-template FILE] [--threads 0,1,2] [--rounds 3]
// --model          folder with a tokenizer; default: Qwen2.5's in ../shared/fixtures
// --data           file of rows; default: conversations made of ../shared/fixtures/data/t0_tasks, about 10 MB
// --chat-template  default: ChatML
// CPU seconds are those of the whole process, threads of the native tokenizer included: MB per CPU second is MB/s per core
// and hardly depends on what else the computer does; MB per second of wall clock does.
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { loadDataset } from "@tunesmith/data";
import { loadTokenizer, nodeFiles, openTokenizeWorkers } from "@tunesmith/node";
import { ROOT } from "../scripts/setup/paths.mjs";

const FIXTURES = join(ROOT, "..", "shared", "fixtures");
const CHATML =
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
const { values: options } = parseArgs({
  options: {
    model: { type: "string", default: join(FIXTURES, "tokenizers", "qwen2.5") },
    data: { type: "string" },
    "chat-template": { type: "string" },
    threads: { type: "string", default: "0,1,2" },
    rounds: { type: "string", default: "3" },
  },
});

const scratch = mkdtempSync(join(tmpdir(), "tunesmith-bench-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));

function conversations() {
  const folder = join(FIXTURES, "data", "t0_tasks");
  const rows = readdirSync(folder)
    .toSorted()
    .flatMap((name) => readFileSync(join(folder, name), "utf8").split("\n"))
    .filter((line) => line !== "")
    .map((line) => {
      const { prompt, completion } = JSON.parse(line);
      const messages = [
        { role: "user", content: prompt },
        { role: "assistant", content: completion },
      ];
      return JSON.stringify({ messages });
    });
  const path = join(scratch, "rows.jsonl");
  writeFileSync(path, rows.join("\n"));
  return path;
}

const path = options.data ?? conversations();
const template = options["chat-template"] ?? join(scratch, "chatml.jinja");
if (options["chat-template"] === undefined) writeFileSync(template, CHATML);
const files = nodeFiles();
const tokenizer = await loadTokenizer(files, options.model);
const megabytes = readFileSync(path).length / 1e6;

/** @param {Awaited<ReturnType<typeof loadDataset>>} dataset */
function hashOf({ examples }) {
  const hash = createHash("sha256");
  for (const { inputIds, targets, targetWeights, task, row } of examples)
    hash.update(inputIds).update(targets).update(targetWeights).update(`${task} ${row}`);
  return hash.digest("hex");
}

const variants = options.threads.split(",").map((text) => {
  const threads = Number(text);
  const workers = threads === 0 ? undefined : openTokenizeWorkers({ folder: options.model, threads });
  return { threads, workers, cpu: /** @type {number[]} */ ([]), wall: /** @type {number[]} */ ([]) };
});
/** @param {number[]} values */
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

let tokens = 0;
let expected = "";
for (let round = 0; round <= Number(options.rounds); round++) {
  for (const { threads, workers, cpu, wall } of variants) {
    const before = process.cpuUsage();
    const began = performance.now();
    const dataset = await loadDataset({
      files,
      tokenizer,
      folder: options.model,
      entries: [{ path }],
      chatTemplate: template,
      trainOn: "assistant",
      overlong: "error",
      maxLength: 2 ** 30,
      appendEos: true,
      vocabSize: 2 ** 30,
      now: new Date(0),
      workers,
    });
    const seconds = (performance.now() - began) / 1000;
    const { user, system } = process.cpuUsage(before);
    const hash = hashOf(dataset);
    if (expected === "") expected = hash;
    if (hash !== expected) throw new Error(`${threads} threads gave other examples`);
    tokens = dataset.reports.reduce((sum, report) => sum + report.tokens, 0);
    if (round === 0) continue; // tokenizers load, code warms up
    cpu.push(megabytes / ((user + system) / 1e6));
    wall.push(megabytes / seconds);
  }
}
console.log(`${megabytes.toFixed(1)} MB, ${tokens} tokens, the same examples in every run (${expected.slice(0, 12)})`);
for (const { threads, workers, cpu, wall } of variants) {
  const where = threads === 0 ? "main thread" : `${threads} worker${threads === 1 ? "" : "s"}`;
  console.log(`${where}: ${median(cpu).toFixed(2)} MB/s per core, ${median(wall).toFixed(2)} MB/s by the clock`);
  await workers?.close();
}
