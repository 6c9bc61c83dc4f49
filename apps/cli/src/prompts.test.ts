import { join } from "node:path";
import { nodeFiles } from "@tunesmith/node";
import { describe, expect, test } from "vitest";
import { folderWith } from "../../../tests/support/cli.ts";
import { idsOf, modelFolder } from "../../../tests/support/model-folder.ts";
import { promptReader } from "./prompts.ts";
import { readModelFacts } from "./rows.ts";

const USER = { role: "user", content: "hi" };
const ANSWER = { role: "assistant", content: "no" };

async function reader(cwd: string, adapter?: string): ReturnType<typeof promptReader> {
  const files = nodeFiles();
  const facts = await readModelFacts(files, { model: join(cwd, "model"), adapter });
  return promptReader(files, facts, { chatTemplate: "auto", now: new Date(0) });
}

describe("prompts end where the model is to speak", () => {
  const rows = [
    [{ messages: [USER, ANSWER] }, "user: hi\nassistant: "],
    [{ messages: [USER] }, "user: hi\nassistant: "],
    [{ messages: [USER, ANSWER, USER] }, "user: hi\nassistant: no</s>\nuser: hi\nassistant: "],
    [{ prompt: "2+2=", completion: "4" }, "2+2="],
    [{ prompt: "2+2=" }, "2+2="],
    [{ prompt: [USER], completion: [ANSWER] }, "user: hi\nassistant: "],
    [{ prompt: [USER] }, "user: hi\nassistant: "],
    [{ text: "once" }, "once"],
  ] as const;
  test.each(rows)("%j", async (row, text) => {
    const cwd = folderWith({ ...modelFolder("model"), "p.jsonl": JSON.stringify(row) });
    const [prompt] = await (await reader(cwd)).rows(join(cwd, "p.jsonl"));
    const [before, after] = text.split("</s>") as [string, string?];
    expect([...prompt!]).toEqual(after === undefined ? idsOf(before) : [...idsOf(before), 2, ...idsOf(after)]);
  });
  test("rows of token ids are their own prompts", async () => {
    const cwd = folderWith({ ...modelFolder("model"), "p.jsonl": '{"input_ids":[5,6,7]}' });
    expect(await (await reader(cwd)).rows(join(cwd, "p.jsonl"))).toEqual([Int32Array.of(5, 6, 7)]);
  });
});

test("an adapter's own template is taken before the model's", async () => {
  const cwd = folderWith({
    ...modelFolder("model"),
    "adapter/adapter_config.json": "{}",
    "adapter/chat_template.jinja": "{{ messages[0].content }}?",
    "m.json": JSON.stringify([USER]),
  });
  const prompt = await (await reader(cwd, join(cwd, "adapter"))).messages(join(cwd, "m.json"));
  expect([...prompt]).toEqual(idsOf("hi?"));
});

test("a conversation without a template is told, a text without one is not", async () => {
  const cwd = folderWith({ ...modelFolder("model", { template: null }), "m.json": JSON.stringify([USER]) });
  const { messages, text } = await reader(cwd);
  await expect(messages(join(cwd, "m.json"))).rejects.toMatchObject({ code: "TEMPLATE_MISSING" });
  expect([...(await text("a"))]).toEqual(idsOf("a"));
});
