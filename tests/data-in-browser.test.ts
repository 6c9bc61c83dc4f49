// @tunesmith/data in a world without Node: bundled as a browser would get it, run where only web globals exist.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createContext, runInContext } from "node:vm";
import { gzipSync } from "node:zlib";
import { build } from "vite";
import { beforeAll, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
let bundle = "";

beforeAll(async () => {
  const result = await build({
    root,
    configFile: false,
    logLevel: "error",
    resolve: { conditions: ["@tunesmith/source", "browser", "module", "import", "default"] },
    build: {
      write: false,
      minify: false,
      lib: { entry: `${root}packages/data/src/index.ts`, formats: ["iife"], name: "data" },
    },
  });
  const [output] = [result].flat();
  if (output === undefined || !("output" in output)) throw new Error("vite wrote nothing");
  bundle = output.output[0].code;
});

test("nothing of Node is in the bundle", () => {
  expect(bundle.length).toBeGreaterThan(100_000);
  expect(
    [
      ...bundle.matchAll(/\bnode:|__vite-browser-external|\brequire\(|\bprocess\.|\bBuffer\.(?:from|alloc|concat)/g),
    ].map(({ index }) => bundle.slice(index - 40, index + 40)),
  ).toEqual([]);
});

test("rows are read, rendered, tokenized and prepared with web globals alone", async () => {
  const { TextDecoder, TextEncoder, DecompressionStream, crypto, atob, WebAssembly } = globalThis;
  const context = createContext({ TextDecoder, TextEncoder, DecompressionStream, crypto, atob, WebAssembly });
  runInContext(bundle, context);
  const contents = {
    "m/chat_template.jinja": [...new TextEncoder().encode("{% for m in messages %}{{ m.content }}{% endfor %}")],
    "a.jsonl.gz": [...gzipSync('{"prompt": "p é", "completion": "🦊"}\n\n{"prompt": "q", "completion": "r"}\n')],
    "b.csv": [...new TextEncoder().encode('prompt,completion\n"x,\ny",z\n')],
    "c.parquet": [...readFileSync(new URL("../fixtures/parquet/zstd.parquet", import.meta.url))],
  };
  const script = `(async () => {
    const stored = new Map(Object.entries(${JSON.stringify(contents)}).map(([name, bytes]) => [name, Uint8Array.from(bytes)]));
    const missing = (path) => Promise.reject(Object.assign(new Error(path), { code: "FILE_MISSING", [Symbol.for("tunesmith.error")]: true }));
    const files = {
      open: async (path) => stored.has(path)
        ? { path, size: stored.get(path).length, read: async (at, length) => stored.get(path).slice(at, at + length), close: async () => {} }
        : missing(path),
      exists: async (path) => stored.has(path),
      list: async (path) => {
        const names = [...stored.keys()].filter((name) => name.startsWith(path + "/"));
        return names.length === 0 ? missing(path) : names.map((name) => name.slice(path.length + 1)).sort();
      },
      writeAtomic: async (path, chunks) => {
        const parts = [];
        for await (const chunk of chunks) parts.push(...chunk);
        stored.set(path, Uint8Array.from(parts));
      },
      join: (...parts) => parts.join("/"),
    };
    const tokenizer = {
      fingerprint: "f",
      special: { eosIds: [1] },
      vocabSize: 9,
      encode: async (text) => {
        const at = Int32Array.from({ length: text.length }, (_, i) => i);
        return { ids: new Int32Array(text.length).fill(5), starts: at, ends: at.map((i) => i + 1) };
      },
    };
    const load = () => data.loadDataset({
      files, tokenizer, folder: "m", chatTemplate: "auto", trainOn: "all", overlong: "error", maxLength: 1000,
      appendEos: true, vocabSize: 9, now: new Date(0), cache: "cache",
      entries: [
        { path: ["a.jsonl.gz", "b.csv"] },
        { path: "c.parquet", rows: { ignoreColumns: ["id", "big", "score", "ok", "note", "empty"] }, trainOn: "last" },
      ],
    });
    const first = await load();
    const second = await load();
    return JSON.stringify({
      rows: first.reports.map((report) => report.rows),
      same: JSON.stringify(first.examples) === JSON.stringify(second.examples),
      cached: [...stored.keys()].filter((name) => name.endsWith("manifest.json")).length,
    });
  })()`;
  const outcome = (await runInContext(script, context)) as string;
  expect(JSON.parse(outcome)).toEqual({ rows: [2, 1, 25], same: true, cached: 3 });
});
