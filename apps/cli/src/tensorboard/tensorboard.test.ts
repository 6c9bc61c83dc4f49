// The event file, byte by byte as tensorboard's own `RecordWriter` and `Event.SerializeToString` write it, and what becomes
// of it when a run stops.
import { appendFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { nodeFiles } from "@tunesmith/node";
import { describe, expect, test } from "vitest";
import { folderWith } from "../../../../tests/support/cli.ts";
import { encodeEvent, FILE_VERSION } from "./event.ts";
import { EVENT_FILE, openEventFile } from "./event-file.ts";
import { scalarsOf } from "./scalars.ts";
import { crc32c, frameRecord, recordEnds } from "./tf-record.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

describe("CRC-32C", () => {
  const counting = Uint8Array.from({ length: 32 }, (_, i) => i);
  // RFC 3720, appendix B.4, and the check value of the catalogue of CRCs
  test.each<[string, Uint8Array, number]>([
    ["32 zeros", new Uint8Array(32), 0x8a9136aa],
    ["32 ones", new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ["0 to 31", counting, 0x46dd794e],
    ["31 to 0", counting.toReversed(), 0x113fdb5c],
    ["123456789", new TextEncoder().encode("123456789"), 0xe3069283],
  ])("%s", (_, bytes, crc) => expect(crc32c(bytes)).toBe(crc));
});

describe("records are tensorboard's, byte for byte", () => {
  test("the version", () => {
    expect(hex(frameRecord(encodeEvent({ wallTime: 1700000000.25, fileVersion: FILE_VERSION })))).toBe(
      "1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe9",
    );
  });
  test("scalars, a step of two bytes, a tag that is not ASCII", () => {
    const scalars = [["train/loss", 1.5], ["eval/loss/ä", -0.1]] as const; // prettier-ignore
    expect(hex(frameRecord(encodeEvent({ wallTime: 1700000000.5, step: 300, scalars })))).toBe(
      "36000000000000004f578cef0900002040fc54d94110ac022a280a110a0a747261696e2f6c6f7373150000c03f0a130a0c6576616c2f6c6f73732fc3a415cdccccbd636d398a",
    );
  });
  test("what is cut or damaged ends the list", () => {
    const [a, b] = [frameRecord(Uint8Array.of(1, 2, 3)), frameRecord(new Uint8Array(0))];
    const both = Uint8Array.of(...a, ...b);
    expect(recordEnds(both)).toEqual([19, 35]);
    for (let length = 19; length < 35; length++) expect(recordEnds(both.subarray(0, length))).toEqual([19]);
    for (let at = 0; at < 19; at++) expect(recordEnds(both.map((byte, i) => (i === at ? byte ^ 4 : byte)))).toEqual([]);
  });
});

test("curves of each kind of line", () => {
  const step = { format_version: 1, step: 3, total_steps: 9, loss: 2, grad_norm: 1, lr: 0.1, tokens: 50 };
  expect(
    scalarsOf({
      ...step,
      tasks: { a: { loss: 2, targets: 5 } },
      penalties: { kl_to_base: 0.25 },
      timing: { seconds: 2, tokens_per_second: 25 },
    }),
  ).toEqual([
    ["train/loss", 2],
    ["train/grad_norm", 1],
    ["train/lr", 0.1],
    ["train/tokens", 50],
    ["train/tokens_per_second", 25],
    ["train/kl_to_base", 0.25],
    ["train/loss/a", 2],
  ]);
  const scores = { loss: 2, perplexity: 7, token_accuracy: 0.5, targets: 9 };
  expect(
    scalarsOf({ step: 3, eval_loss: 2, eval_perplexity: 7, eval_token_accuracy: 0.5, tasks: { a: scores } }),
  ).toEqual([
    ["eval/loss", 2],
    ["eval/perplexity", 7],
    ["eval/token_accuracy", 0.5],
    ["eval/loss/a", 2],
  ]);
  expect(scalarsOf({ step: 3, probe: { sets: { s: scores }, pairs: { p: { gap: -1 } } } })).toEqual([
    ["probe/loss/s", 2],
    ["probe/gap/p", -1],
  ]);
});

describe("a run that goes on", () => {
  const line = (step: number): { step: number; test_loss: number; tasks: object } => ({
    step,
    test_loss: step,
    tasks: {},
  });
  const texts = (...steps: number[]): string[] => steps.map((step) => JSON.stringify(line(step)));
  const files = nodeFiles();
  /** A file of a run that logged steps 1 to 4, at 1 s, 2 s … */
  async function ran(): Promise<{ path: string; bytes: Buffer }> {
    const path = join(folderWith(), EVENT_FILE);
    let seconds = 0;
    const file = await openEventFile(files, path, { lines: [], now: () => 1000 * seconds++ });
    for (const step of [1, 2, 3, 4]) await file.add(line(step));
    await file.close();
    return { path, bytes: readFileSync(path) };
  }
  async function resumed(path: string, ...steps: number[]): Promise<Buffer> {
    let seconds = steps.length + 1;
    const file = await openEventFile(files, path, { lines: texts(...steps), now: () => 1000 * seconds++ });
    for (const step of [1, 2, 3, 4].slice(steps.length)) await file.add(line(step));
    await file.close();
    return readFileSync(path);
  }
  test("keeps a record per line that it keeps", async () => {
    const { path, bytes } = await ran();
    expect(recordEnds(bytes)).toHaveLength(5);
    expect(await resumed(path, 1, 2)).toEqual(bytes);
    appendFileSync(path, Uint8Array.of(7, 7, 7)); // what a kill leaves
    expect(await resumed(path, 1, 2, 3)).toEqual(bytes);
  });
  test("makes again what is missing, at the time of now", async () => {
    const { path, bytes } = await ran();
    writeFileSync(path, bytes.subarray(0, recordEnds(bytes)[1]!)); // steps 2 to 4 were lost
    const again = await resumed(path, 1, 2);
    expect(recordEnds(again)).toEqual(recordEnds(bytes));
    rmSync(path);
    expect(recordEnds(await resumed(path, 1, 2))).toEqual(recordEnds(bytes));
  });
});
