import { expect, test } from "vitest";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";

/** A safetensors file with one f32 tensor `w` of `count` elements, zeros. */
function safetensors(count: number, claimed = count): Uint8Array {
  const header = JSON.stringify({ w: { dtype: "F32", shape: [claimed], data_offsets: [0, 4 * claimed] } });
  const bytes = new Uint8Array(8 + header.length + 4 * count);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  bytes.set(new TextEncoder().encode(header), 8);
  return bytes;
}

test("each path gets its own verdict; one that is bad makes the exit code 2", async () => {
  const cwd = folderWith({
    "good.safetensors": safetensors(2),
    "short.safetensors": safetensors(1, 2),
    "good.jsonl": '{"prompt":"a","completion":"b"}\n{"prompt":"c","completion":"d"}\n',
    "bad.jsonl": '{"prompt":"a","completion":"b"}\n{"prompt":"c","completion":"d","extra":1}\n',
    "empty.jsonl": "\n",
    "good.yaml": "model: good.jsonl\noutput: o\ndata: {train: [{path: good.jsonl}]}\n",
    "bad.yaml": "model: nowhere\noutput: o\ndata: {train: [{path: good.jsonl}]}\n",
    "odd.txt": "x",
  });
  const paths = [
    "good.safetensors",
    "short.safetensors",
    "good.jsonl",
    "bad.jsonl",
    "empty.jsonl",
    "good.yaml",
    "bad.yaml",
    "odd.txt",
    "none",
  ];
  const result = await runCli(["check", ...paths, "--json"], { cwd });
  expect(result.exitCode).toBe(2);
  const { ok, items } = result.document() as unknown as {
    ok: boolean;
    items: { error?: { code: string; line?: number } }[];
  };
  expect(ok).toBe(false);
  expect(items.map(({ error, ...item }) => ({ ...item, code: error?.code }))).toEqual([
    { path: "good.safetensors", kind: "safetensors", ok: true, summary: "safetensors, 1 tensors", code: undefined },
    { path: "short.safetensors", kind: "safetensors", ok: false, code: "DATA_BEYOND_FILE" },
    {
      path: "good.jsonl",
      kind: "dataset",
      ok: true,
      summary: "dataset, 2 rows in the format prompt_completion",
      code: undefined,
    },
    { path: "bad.jsonl", kind: "dataset", ok: false, code: "COLUMN_UNKNOWN" },
    { path: "empty.jsonl", kind: "dataset", ok: false, code: "TASK_EMPTY" },
    { path: "good.yaml", kind: "config", ok: true, summary: "config", code: undefined },
    { path: "bad.yaml", kind: "config", ok: false, code: "FILE_MISSING" },
    { path: "odd.txt", kind: "unknown", ok: false, code: "INPUT_INVALID" },
    { path: "none", kind: "unknown", ok: false, code: "FILE_MISSING" },
  ]);
  expect(items[3]!.error!.line).toBe(2);
});

test("all sound: exit code 0, a line per path", async () => {
  const cwd = folderWith({ "good.safetensors": safetensors(0) });
  expect(await runCli(["check", "good.safetensors"], { cwd })).toMatchObject({
    exitCode: 0,
    stdout: "ok   good.safetensors: safetensors, 1 tensors\n",
  });
});
