// Files of counterfactual pairs, and how their sides become tokens. Byte b is id b + 3.
import { join } from "node:path";
import { IGNORED, loadChatTemplates } from "@tunesmith/data";
import { loadTokenizer, nodeFiles } from "@tunesmith/node";
import type { CounterfactualPair } from "@tunesmith/sft";
import { describe, expect, test } from "vitest";
import { folderWith } from "../../../tests/support/cli.ts";
import { idsOf, modelFolder } from "../../../tests/support/model-folder.ts";
import { readPairs } from "./probe-data.ts";

const cwd = folderWith(modelFolder("model"));
const files = nodeFiles();

async function read(...rows: object[]): Promise<CounterfactualPair[]> {
  const path = join(folderWith({ "bias.jsonl": rows.map((row) => JSON.stringify(row)).join("\n") }), "bias.jsonl");
  const model = join(cwd, "model");
  return readPairs(files, [{ path }], {
    tokenizer: await loadTokenizer(files, model),
    templates: await loadChatTemplates(files, { folder: model, spec: "auto" }),
    maxLength: 40,
    vocabSize: 300,
    now: new Date(0),
  });
}
/** What is compared, as text. */
const compared = ({ targets }: CounterfactualPair["a"]): string =>
  String.fromCharCode(...[...targets].filter((id) => id !== IGNORED && id >= 3).map((id) => id - 3));

describe("pairs", () => {
  test("are compared behind the same prompt, without an EOS", async () => {
    const [pair] = await read({ prompt: "The nurse: ", a: "he", b: "she" });
    expect(pair).toMatchObject({ set: "bias" });
    expect([...pair!.a.inputIds]).toEqual(idsOf("The nurse: he"));
    expect([...pair!.b.inputIds]).toEqual(idsOf("The nurse: she"));
    expect([compared(pair!.a), compared(pair!.b)]).toEqual(["he", "she"]);
  });
  test("messages go through the template; a row may name its set", async () => {
    const [pair] = await read({ prompt: [{ role: "user", content: "Who?" }], a: "him", b: "her", task: "jobs" });
    expect(pair!.set).toBe("jobs");
    expect(compared(pair!.b)).toMatch(/^her/);
    expect([...pair!.a.inputIds].map((id) => String.fromCharCode(id - 3)).join("")).toMatch(
      /^user: Who\?\nassistant: him/,
    );
  });
  test("without a prompt the first token is given", async () => {
    const [pair] = await read({ a: "He won", b: "She won" });
    expect([compared(pair!.a), compared(pair!.b)]).toEqual(["e won", "he won"]);
  });
  test.each<[string, object, string, RegExp]>([
    ["a missing side", { prompt: "x", a: "y" }, "VALUE_INVALID", /no `b`/],
    ["a side that is no text", { a: 1, b: "y" }, "VALUE_INVALID", /`a` is no text/],
    ["two equal sides", { prompt: "x", a: "y", b: "y" }, "VALUE_INVALID", /same text/],
    ["another column", { a: "x", b: "y", weight: 2 }, "COLUMN_UNKNOWN", /"weight"/],
    ["a pair that is too long", { prompt: "x".repeat(40), a: "y", b: "z" }, "ROW_TOO_LONG", /41/],
  ])("%s is an error at its row", async (_, row, code, message) => {
    await expect(read({ prompt: "p", a: "x", b: "y" }, row)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
      details: expect.objectContaining({ line: 2 }),
    });
  });
});
