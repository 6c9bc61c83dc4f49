import type { Files } from "@tunesmith/core";
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { charTokenizer } from "../../test/char-tokenizer.ts";
import { memoryFiles } from "../../test/memory-files.ts";
import { type DataEntry, type Dataset, type DatasetOptions, loadDataset, prepareDataset } from "../dataset/dataset.ts";
import { canonicalJson, clockIn, sha256 } from "./key.ts";
import { openPrepared } from "./read-prepared.ts";

const LINES = 8300; // 17 batches, 3 shards

/** Rows of every kind that a shard must hold: weights, tasks of their own, positions, segments, bad ones, blank lines. */
const long = Array.from({ length: LINES }, (_, i) => {
  if (i % 997 === 5) return "";
  if (i % 1009 === 7) return "{broken";
  const task = i % 5 === 0 ? { task: `t${i % 15}` } : {};
  return JSON.stringify({ prompt: `${i}:`, completion: "x".repeat(i % 4), ...task });
}).join("\n");
const packed = [
  { input_ids: [1001, 1002, 1003, 1004], position_ids: [0, 1, 0, 1] },
  { input_ids: [1005, 1006] },
  { input_ids: [1007, 1008, 1009], attention_mask: [0, 1, 1], labels: [-100, -100, 1009], task: "other" },
];
const contents = {
  "long.jsonl": long,
  "chat.jsonl":
    '{"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a", "weight": 0.25}]}\n',
  "packed.jsonl": packed.map((row) => JSON.stringify(row)).join("\n"),
  "text.jsonl": `{"text": "${"abc".repeat(50)}"}\n{"text": "d"}\n`,
  "none.jsonl": "\n",
  "m/chat_template.jinja":
    "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}",
};
const ENTRIES: readonly DataEntry[] = [
  { path: ["long.jsonl", "none.jsonl"], onBadRow: "skip", name: "long" },
  { path: "chat.jsonl" },
  { path: "packed.jsonl" },
  { path: "text.jsonl", maxLength: 40 },
];

let files: Files;
let tokenized = 0;
const tokenizer = charTokenizer();
const counting = {
  ...tokenizer,
  fingerprint: "char",
  encode: (text: string, options: { addSpecialTokens: boolean }) => {
    tokenized++;
    return tokenizer.encode(text, options);
  },
};
const base = (): DatasetOptions & { cache: string } => ({
  files,
  tokenizer: counting,
  folder: "m",
  entries: ENTRIES,
  chatTemplate: "auto",
  trainOn: "assistant",
  overlong: "error",
  maxLength: 100,
  appendEos: true,
  vocabSize: 2 ** 21,
  now: new Date(0),
  cache: "cache",
});
const load = (options: Partial<DatasetOptions> = {}): Promise<Dataset> => loadDataset({ ...base(), ...options });
/** How many texts were tokenized by `work`. */
async function texts(work: () => Promise<unknown>): Promise<number> {
  const before = tokenized;
  await work();
  return tokenized - before;
}

/** All of a dataset as text: comparing thousands of arrays one by one takes seconds. */
function text({ templates, ...dataset }: Dataset): string {
  return JSON.stringify([dataset, templates?.default.source], (_, value: unknown) =>
    ArrayBuffer.isView(value) ? `${value.constructor.name}:${String(value as Int32Array)}` : value,
  );
}

beforeEach(() => {
  files = memoryFiles(contents);
});

describe("prepared rows", () => {
  test("give the dataset that tokenizing gives: while they are written, and read back", async () => {
    const plain = await load({ cache: undefined });
    expect(plain.examples.length).toBeGreaterThan(8100);
    expect(plain.reports[0]).toMatchObject({ blank: 9, skipped: { JSON_INVALID: { rows: 9 } } });
    expect(text(await load())).toBe(text(plain));
    let again: Dataset | undefined;
    expect(await texts(async () => (again = await load()))).toBe(0);
    expect(text(again!)).toBe(text(plain));
  });

  test("parts in any order fill the cache; the last one writes the manifests", async () => {
    const total = await texts(() => load({ cache: undefined }));
    const done: number[] = [];
    for (const index of [2, 0, 1]) {
      done.push(
        await texts(async () => {
          const reports = await prepareDataset(base(), { index, of: 3 });
          expect(reports.every(({ manifest }) => manifest !== undefined)).toBe(index === 1);
        }),
      );
    }
    expect(done.reduce((sum, count) => sum + count, 0)).toBe(total);
    expect(done.every((count) => count > 0 && count < 0.6 * total)).toBe(true);
    expect(await texts(() => load())).toBe(0);
  });

  test("what a run that died left behind is used, and its half-written shard is not", async () => {
    const [report] = await prepareDataset(base());
    const whole = await snapshot(report!.folder);
    const torn = new Map(whole);
    torn.delete("manifest.json");
    torn.delete("shard-00001.safetensors");
    torn.set("shard-00002.safetensors", whole.get("shard-00002.safetensors")!.slice(0, 1000));
    torn.set(".shard-00001.safetensors.1234.tmp", Uint8Array.of(1));
    files = memoryFiles({
      ...contents,
      ...Object.fromEntries([...torn].map(([name, bytes]) => [`${report!.folder}/${name}`, bytes])),
    });
    const [again] = await prepareDataset({ ...base(), entries: ENTRIES.slice(0, 1) });
    expect(again).toMatchObject({ shards: 3, written: 2 });
    const repaired = await snapshot(report!.folder);
    repaired.delete(".shard-00001.safetensors.1234.tmp");
    expect(await hashes(repaired)).toEqual(await hashes(whole));
  });

  test("a failing write leaves no manifest; the next run goes on", async () => {
    const writeAtomic = files.writeAtomic;
    let writes = 0;
    const full = {
      ...files,
      writeAtomic: (...args: Parameters<typeof writeAtomic>) =>
        ++writes === 2 ? Promise.reject(new Error("ENOSPC")) : writeAtomic(...args),
    };
    const entries = ENTRIES.slice(0, 1);
    await expect(prepareDataset({ ...base(), files: full, entries })).rejects.toThrow("ENOSPC");
    expect(await prepareDataset({ ...base(), entries })).toMatchObject([
      { written: 2, manifest: { shards: { length: 3 } } },
      {},
    ]);
  });

  test("under a manifest a shard that was changed, cut or lost is an error", async () => {
    const [report] = await prepareDataset(base());
    const path = `${report!.folder}/shard-00001.safetensors`;
    const bytes = (await snapshot(report!.folder)).get("shard-00001.safetensors")!;
    const flipped = bytes.slice();
    flipped[flipped.length - 5]! ^= 4;
    for (const content of [flipped, bytes.slice(0, -4), new Uint8Array()]) {
      await files.writeAtomic(path, [content]);
      await expect(load()).rejects.toMatchObject({ code: "PREPARED_INVALID", details: { path } });
    }
  });

  test.each<[string, Partial<DatasetOptions>]>([
    ["max_length", { maxLength: 99 }],
    ["train_on", { trainOn: "last" }],
    ["append_eos", { appendEos: false }],
    ["overlong", { overlong: "truncate" }],
    ["the vocabulary's size", { vocabSize: 2 ** 22 }],
    ["the tokenizer", { tokenizer: { ...counting, fingerprint: "other" } }],
    ["the format by name", { entries: [{ path: "chat.jsonl", format: "messages" }] }],
    ["max_rows", { entries: [{ path: "chat.jsonl", maxRows: 1 }] }],
    ["on_bad_row", { onBadRow: "skip" }],
    ["ignore_columns", { entries: [{ path: "chat.jsonl", rows: { ignoreColumns: ["id"] } }] }],
  ])("%s makes other rows", async (_, change) => {
    const entries = [{ path: "chat.jsonl" }];
    await load({ entries });
    expect(await texts(() => load({ entries, ...change }))).toBeGreaterThan(0);
    expect(await texts(() => load({ entries }))).toBe(0);
  });
  test("another text of the template or of the file makes other rows; names, weights and places do not", async () => {
    const entry = { path: "chat.jsonl" };
    await load({ entries: [entry] });
    expect(await texts(() => load({ entries: [{ ...entry, name: "n", lossWeight: 2 }], now: new Date(9) }))).toBe(0);
    await files.writeAtomic("elsewhere.jsonl", [new TextEncoder().encode(contents["chat.jsonl"])]);
    expect(await texts(() => load({ entries: [{ path: "elsewhere.jsonl" }] }))).toBe(0);
    await files.writeAtomic("m/chat_template.jinja", [
      new TextEncoder().encode(`${contents["m/chat_template.jinja"]} `),
    ]);
    expect(await texts(() => load({ entries: [entry] }))).toBe(1);
    await files.writeAtomic("chat.jsonl", [new TextEncoder().encode(contents["chat.jsonl"].replace('"u"', '"v"'))]);
    expect(await texts(() => load({ entries: [entry] }))).toBe(1);
  });

  test("any range of examples is read alone", async () => {
    const [report] = await prepareDataset(base());
    const all = (await load({ entries: ENTRIES.slice(0, 1) })).examples;
    const reads: number[] = [];
    const watched = {
      ...files,
      open: async (path: string) => {
        const source = await files.open(path);
        return {
          ...source,
          read: (offset: number, length: number) => {
            reads.push(length);
            return source.read(offset, length);
          },
        };
      },
    };
    const key = report!.folder.split("/").at(-1)!;
    const rows = await openPrepared(watched, report!.folder, key);
    expect(rows.length).toBe(all.length);
    const range = fc.tuple(fc.nat(all.length), fc.nat(all.length)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)]);
    await fc.assert(
      fc.asyncProperty(range, async ([from, to]) => {
        expect(await rows.read(from!, Math.min(to!, from! + 50), "long")).toEqual(
          all.slice(from, Math.min(to!, from! + 50)),
        );
      }),
      { numRuns: 50 },
    );
    // over the border of two shards, with rows of their own tasks
    expect(await rows.read(4000, 4200, "long")).toEqual(all.slice(4000, 4200));
    reads.length = 0;
    await rows.read(5000, 5001, "long");
    expect(reads.reduce((sum, length) => sum + length, 0)).toBeLessThan(5000); // the header, and a handful of bytes
    await expect(rows.read(5, all.length + 1, "long")).rejects.toThrow(RangeError);
  });
});

async function hashes(folder: ReadonlyMap<string, Uint8Array>): Promise<object> {
  return Object.fromEntries(
    await Promise.all([...folder].map(async ([name, bytes]) => [name, await sha256(bytes)] as const)),
  );
}

/** The files of a folder. */
async function snapshot(folder: string): Promise<Map<string, Uint8Array>> {
  const out = new Map<string, Uint8Array>();
  for (const name of await files.list(folder)) {
    const source = await files.open(`${folder}/${name}`);
    out.set(name, await source.read(0, source.size));
  }
  return out;
}

describe("the clock in a template", () => {
  const [one, other] = [new Date("2026-01-02T03:04:05Z"), new Date("2026-01-02T23:00:00Z")];
  test.each<[string, boolean]>([
    ["no clock {{ messages }}", true],
    ["{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% endif %}", true],
    ['{{ strftime_now( "%Y" ) }}', true],
    ["{{ strftime_now('%H') }}", false],
    ["{% set f = '%Y' %}{{ strftime_now(f) }}", false],
    ["{% set now = strftime_now %}{{ now('%Y') }}", false],
  ])("%s", (source, sameAllDay) => {
    expect(clockIn(source, one) === clockIn(source, other)).toBe(sameAllDay);
    expect(clockIn(source, one)).toBe(clockIn(source, one));
  });
});

test("JSON with sorted keys tells apart what is different, and nothing else", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
      const equal = canonicalJson(a) === canonicalJson(b);
      expect(JSON.parse(canonicalJson(a))).toEqual(JSON.parse(JSON.stringify(a)));
      if (!equal) expect(JSON.stringify(a)).not.toBe(JSON.stringify(b));
    }),
  );
  expect(canonicalJson({ b: 1, a: { d: undefined, c: [2, { f: 1, e: 0 }] } })).toBe(
    canonicalJson({ a: { c: [2, { e: 0, f: 1 }] }, b: 1 }),
  );
});
