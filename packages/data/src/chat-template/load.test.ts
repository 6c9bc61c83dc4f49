import { describe, expect, test } from "vitest";
import { memoryFiles } from "../../test/memory-files.ts";
import { loadChatTemplates, templateFor } from "./load.ts";

const load = (contents: Record<string, string>, spec = "auto"): ReturnType<typeof loadChatTemplates> =>
  loadChatTemplates(memoryFiles(contents), { folder: "m", spec });
const config = (chat_template: unknown): Record<string, string> => ({
  "m/tokenizer_config.json": JSON.stringify({ chat_template }),
});

describe("loadChatTemplates", () => {
  test("auto: chat_template.jinja, else tokenizer_config.json, else none", async () => {
    const own = { "m/chat_template.jinja": "file" };
    expect((await load({ ...own, ...config("config") }))?.default.source).toBe("file");
    expect((await load(config("config")))?.default.source).toBe("config");
    for (const none of [{}, config(null), { "m/tokenizer_config.json": "{}" }] as Record<string, string>[]) {
      expect(await load(none)).toBeUndefined();
    }
  });
  test("named templates: tool_use where tools are given", async () => {
    const named = await load(
      config([
        { name: "default", template: "d" },
        { name: "tool_use", template: "t" },
      ]),
    );
    expect(templateFor(named!, undefined).source).toBe("d");
    expect(templateFor(named!, []).source).toBe("t");
    expect(templateFor((await load(config([{ name: "default", template: "d" }])))!, []).source).toBe("d");
  });
  test("a path", async () => {
    const loaded = await load({ ...config("config"), "my.jinja": "mine" }, "my.jinja");
    expect(loaded?.default).toMatchObject({ source: "mine", name: "my.jinja" });
    await expect(load({}, "my.jinja")).rejects.toThrow(expect.objectContaining({ code: "TEMPLATE_MISSING" }));
  });
  test.each([
    ["a number", config(5)],
    ["a list without default", config([{ name: "rag", template: "x" }])],
    ["a list of strings", config(["x"])],
    ["a template that does not parse", config("{% for %}")],
  ])("%s is refused", async (_, contents) => {
    await expect(load(contents)).rejects.toThrow(expect.objectContaining({ code: "TEMPLATE_INVALID" }));
  });
  test("a file that is not UTF-8", async () => {
    const files = memoryFiles({ "m/chat_template.jinja": Uint8Array.of(0xff) });
    await expect(loadChatTemplates(files, { folder: "m", spec: "auto" })).rejects.toThrow(
      expect.objectContaining({ code: "UTF8_INVALID" }),
    );
  });
});
