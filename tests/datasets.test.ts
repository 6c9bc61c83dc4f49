// Public datasets as they are published, under `format: auto` or a short map, by the whole road to examples. They are not part
// of the repository; where they are absent this is skipped with a reason.
import { type DataEntry, type Dataset, loadDataset, type Tokenizer } from "@tunesmith/data";
import { nodeFiles } from "@tunesmith/node";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { folderWith } from "./support/cli.ts";

const data = fileURLToPath(new URL("../../shared/fixtures/data/", import.meta.url));

const BLOCK = 32;

/** A token for every 32 UTF-16 units: what is tested is what is read, and 30 MB are read. */
const tokenizer: Tokenizer = {
  special: { bosToken: undefined, bosId: undefined, eosToken: "</s>", eosIds: [1], padToken: undefined },
  vocabSize: 2,
  encode: async (text) => {
    const count = Math.ceil(text.length / BLOCK);
    const starts = Int32Array.from({ length: count }, (_, t) => t * BLOCK);
    const ends = starts.map((start) => Math.min(text.length, start + BLOCK));
    return { ids: new Int32Array(count), starts, ends };
  },
  decode: async () => "",
  tokenToId: () => undefined,
  idToToken: () => undefined,
};
const TOOLS = `{% if tools %}{{ tools }}{% endif %}{% for m in messages %}{% if m.role == "assistant" %}{% generation %}
{{ m.content }}{{ m.tool_calls }}{% endgeneration %}{% else %}{{ m.role }}: {{ m.content }}{% endif %}{% endfor %}`;
const template = join(folderWith({ "tools.jinja": TOOLS }), "tools.jinja");

type Spec = Omit<DataEntry, "path">;

function load(path: string | readonly string[], spec: Spec = {}): Promise<Dataset> {
  const absolute = typeof path === "string" ? join(data, path) : path.map((one) => join(data, one));
  return loadDataset({
    files: nodeFiles(),
    tokenizer,
    folder: "none",
    entries: [{ path: absolute, ...spec }],
    chatTemplate: "chatml",
    trainOn: "assistant",
    overlong: "error",
    maxLength: 10_000_000,
    appendEos: true,
    vocabSize: 2 ** 22,
    now: new Date(0),
  });
}

/** Rows as another program counts them. */
function rowsIn(path: string): number {
  const text = readFileSync(join(data, path), "utf8");
  if (path.endsWith(".jsonl")) return text.split("\n").filter((line) => line.trim() !== "").length;
  const value = JSON.parse(text) as unknown;
  return Array.isArray(value) ? value.length : 1;
}

/** Every row gives at least one example, and none is lost. */
async function expectAllRows(path: string, spec: Spec): Promise<void> {
  const { reports, examples } = await load(path, spec);
  expect([path, reports[0]]).toEqual([
    path,
    expect.objectContaining({ rows: rowsIn(path), rowsWithoutTargets: 0, rowsTooLong: 0, tokensLost: 0, skipped: {} }),
  ]);
  expect(new Set(examples.map(({ row }) => row)).size).toBe(rowsIn(path));
}

const QUESTIONS: Spec = { rows: { map: { prompt: "{{question}}", completion: "{{answer}}" } } };
const FIRST_INSTANCE = {
  prompt: "{{instruction}}\n{{instances.0.input}}",
  completion: "{{instances.0.output}}",
};
const DATASETS: Readonly<Record<string, Readonly<Record<string, Spec>>>> = {
  alpaca: {
    "alpaca_en_demo.json": {},
    "alpaca_tiny.json": { format: "alpaca" },
    "alpaca_zh_demo.json": {},
    "rasbt_instruction-data.json": {},
  },
  chat: {
    "fastchat_dummy_conversation.json": {},
    "glaive_toolcall_en_demo.json": { chatTemplate: template },
    "identity.json": {},
    "reason_tool_use_demo_50.jsonl": { chatTemplate: template },
    "v1_sft_demo.jsonl": {},
  },
  gsm8k: { "train.jsonl": QUESTIONS, "test.jsonl": QUESTIONS, "test_socratic.jsonl": QUESTIONS },
  ifeval: {
    "input_data.jsonl": {
      rows: { map: { text: "{{prompt}}" }, ignoreColumns: ["key", "instruction_id_list", "kwargs"] },
    },
  },
  mt_bench: {
    "question.jsonl": {
      rows: { map: { text: "{{turns.0}}\n{{turns.1}}" }, ignoreColumns: ["question_id", "category", "reference"] },
    },
    "reference_answer_gpt-4.jsonl": {
      rows: {
        map: { text: "{{choices.0.turns.0}}" },
        ignoreColumns: ["question_id", "answer_id", "model_id", "tstamp"],
      },
    },
  },
  oasst: { "en_100_message.jsonl": {}, "en_100_tree.jsonl": {} },
  self_instruct: {
    "seed_tasks.jsonl": { rows: { map: FIRST_INSTANCE, ignoreColumns: ["id", "name", "is_classification"] } },
    "user_oriented_instructions.jsonl": { rows: { map: FIRST_INSTANCE, ignoreColumns: ["id", "motivation_app"] } },
  },
  small: {
    "axolotl_conversation.json": {},
    "axolotl_conversation.missingturns.json": {},
    "axolotl_conversation.tokenized.json": {},
    "axolotl_conversation.tokenized_llama2chat.json": {},
    "litgpt_alpaca.json": {},
    "litgpt_dolly.json": {
      rows: {
        map: { prompt: "{{instruction}}\n{{context}}\n", completion: "{{response}}" },
        ignoreColumns: ["category"],
      },
    },
    "torchtune_chat_tiny.json": {},
    "torchtune_instruct_tiny.json": { rows: { map: { prompt: "{{instruction}}", completion: "{{response}}" } } },
    "torchtune_stack_exchange_paired_tiny.json": {
      rows: { map: { prompt: "{{question}}", completion: "{{response_j}}" }, ignoreColumns: ["response_k"] },
    },
  },
};

describe.skipIf(!existsSync(data))("public datasets (need ../shared/fixtures)", () => {
  test.each(Object.entries(DATASETS))("%s: all rows of all files", async (folder, files) => {
    for (const [name, spec] of Object.entries(files)) await expectAllRows(`${folder}/${name}`, spec);
  });
  test("GSM8K has 7,473 and 1,319 rows", async () => {
    const { reports } = await load(["gsm8k/train.jsonl", "gsm8k/test.jsonl"], QUESTIONS);
    expect(reports.map(({ rows }) => rows)).toEqual([7473, 1319]);
  });
  test("T0: 38 tasks of 8 to 200 rows, two of them empty, which is said and no error", async () => {
    const { reports, tasks } = await load("t0_tasks");
    expect(reports.length).toBe(38);
    expect(reports.filter(({ rows }) => rows === 0).map(({ path }) => path.split(/[/\\]/).at(-1))).toEqual([
      "trec_fine_grained_DESC_context_first.jsonl",
      "trec_fine_grained_LOC_context_first.jsonl",
    ]);
    for (const { path, rows } of reports) expect(rows).toBe(rowsIn(path.slice(data.length)));
    const sizes = reports.map(({ rows }) => rows).filter((rows) => rows > 0);
    expect([tasks.length, Math.min(...sizes), Math.max(...sizes)]).toEqual([36, 8, 200]);
  });
  test("texts, as documents and by lines", async () => {
    const names = readdirSync(join(data, "text")).filter((name) => name.endsWith(".txt"));
    expect(names.length).toBe(7);
    for (const name of names) {
      const text = readFileSync(join(data, "text", name), "utf8");
      const [document] = (await load(`text/${name}`)).examples;
      expect(document!.inputIds.length).toBe(Math.ceil(text.length / BLOCK) + 1); // and EOS
      const { reports } = await load(`text/${name}`, { sampleBy: "line" });
      const lines = text.split("\n").filter((line) => line.trim() !== "");
      expect([name, reports[0]!.rows]).toEqual([name, lines.length]);
    }
    await expectAllRows("text/c4_demo.jsonl", {});
  });
  test("what is no training data says so: preference pairs and an index of datasets", async () => {
    await expect(load("small/torchtune_hh_rlhf_tiny.json")).rejects.toMatchObject({ code: "FORMAT_UNSUPPORTED" });
    await expect(load("chat/llama_factory_dataset_info.json")).rejects.toMatchObject({ code: "FORMAT_UNKNOWN" });
  });
});
