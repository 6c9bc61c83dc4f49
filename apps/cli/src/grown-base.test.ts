// A model that lacks the tokens of a template. Needs a WebGPU device; software counts.
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { nodeFiles } from "@tunesmith/node";
import { openSafetensors } from "@tunesmith/safetensors";
import { describe, expect, test } from "vitest";
import { folderWith, runCli } from "../../../tests/support/cli.ts";
import { modelFolder } from "../../../tests/support/model-folder.ts";

const ROW = {
  messages: [
    { role: "user", content: "hi" },
    { role: "assistant", content: "yes" },
  ],
};
const CONFIG = `model: model
output: run
data:
  train: [{path: d.jsonl}]
  eval: [{path: d.jsonl}]
  chat_template: chatml
  add_special_tokens: true
tune: {r: 2, alpha: 4}
train: {max_steps: 2, batch_size: 2, learning_rate: 1.0e-2, warmup_steps: 0}
eval: {every: 2}
`;
const place = (config = CONFIG, options: Parameters<typeof modelFolder>[1] = {}): string =>
  folderWith({
    ...modelFolder("model", { weights: true, template: null, ...options }),
    "d.jsonl": `${JSON.stringify(ROW)}\n`.repeat(4),
    "run.yaml": config,
  });
const json = (...names: string[]): Record<string, unknown> =>
  JSON.parse(readFileSync(join(...names), "utf8")) as Record<string, unknown>;

describe("add_special_tokens: true", () => {
  const cwd = place();
  const trained = runCli(["train", "run.yaml", "--json"], { cwd });

  test("the template's tokens are single ids, trained to their end", async () => {
    expect((await trained).exitCode).toBe(0);
    const { document } = await runCli(
      [
        "logprobs",
        "--model",
        "run-base",
        "--adapter",
        "run/adapter",
        "--data",
        "d.jsonl",
        "--out",
        "o.jsonl",
        "--json",
      ],
      { cwd },
    );
    expect(document()).toMatchObject({ rows: 4 });
    const [line] = readFileSync(join(cwd, "o.jsonl"), "utf8").split("\n");
    const { input_ids, labels } = JSON.parse(line!) as { input_ids: number[]; labels: number[] };
    const [start, end] = [259, 260]; // 256 bytes and three special tokens come before
    expect(input_ids.filter((id) => id >= start)).toEqual([start, end, start, end]);
    expect(labels.filter((id) => id !== -100).slice(-2)[0]).toBe(end);
  });
  test("adapter and base carry the tokenizer, the adapter names the base, a turn's end ends generation", async () => {
    await trained;
    for (const folder of ["run-base", "run/adapter"]) {
      const { added_tokens } = json(cwd, folder, "tokenizer.json") as { added_tokens: { content: string }[] };
      expect(added_tokens.map(({ content }) => content).slice(-2)).toEqual(["<|im_start|>", "<|im_end|>"]);
    }
    expect(json(cwd, "run/adapter/adapter_config.json")["base_model_name_or_path"]).toBe(join(cwd, "run-base"));
    expect(json(cwd, "run-base/generation_config.json")["eos_token_id"]).toEqual([2, 260]);
    expect(readFileSync(join(cwd, "run/adapter/chat_template.jinja"), "utf8")).toContain("<|im_start|>");
    const said = await runCli(
      [
        "generate",
        "--model",
        "run-base",
        "--adapter",
        "run/adapter",
        "--messages",
        "m.json",
        "--max-new-tokens",
        "2",
        "--json",
      ],
      {
        cwd: (writeFileSync(join(cwd, "m.json"), JSON.stringify([ROW.messages[0]])), cwd),
      },
    );
    expect(said.exitCode).toBe(0);
  });
  test("the base is made once; eval of the config finds it; another list makes another", async () => {
    await trained;
    const weights = join(cwd, "run-base", "model.safetensors");
    const { mtimeMs } = statSync(weights);
    expect((await runCli(["eval", "run.yaml", "--json"], { cwd })).exitCode).toBe(0);
    expect(
      (
        await runCli(
          ["train", "run/config.resolved.yaml", "--set", "output=again", "--set", "train.max_steps=1", "--json"],
          { cwd },
        )
      ).exitCode,
    ).toBe(0);
    expect([statSync(weights).mtimeMs, existsSync(join(cwd, "again-base"))]).toEqual([mtimeMs, false]);
    const other = await runCli(["inspect", "run.yaml", "--set", "data.add_special_tokens=[<a>]", "--json"], { cwd });
    expect([other.exitCode, json(cwd, "run-base/grown.json")["tokens"]]).toEqual([0, ["<a>"]]);
  });
});

describe("train_new_tokens", () => {
  const lr = ["--set", "train.max_steps=3", "--set", "eval.every=3"];
  test("true: the new rows train, of embedding and head, and no others; merged they are the model's", async () => {
    const cwd = place();
    const trained = await runCli(["train", "run.yaml", "--json", ...lr, "--set", "tune.train_new_tokens=true"], {
      cwd,
    });
    expect(trained.exitCode, trained.stderr).toBe(0);
    expect(json(cwd, "run/adapter/adapter_config.json")["trainable_token_indices"]).toEqual({
      embed_tokens: [259, 260],
      lm_head: [259, 260],
    });
    const merge = ["merge", "--model", "run-base", "--adapter", "run/adapter", "--out", "merged", "--json"];
    expect((await runCli(merge, { cwd })).exitCode).toBe(0);
    const [before, after] = await Promise.all(
      ["run-base", "merged"].map((folder) => openSafetensors(nodeFiles(), join(cwd, folder, "model.safetensors"))),
    );
    for (const name of ["model.embed_tokens.weight", "lm_head.weight"]) {
      const [old, now] = [await before!.read(name), await after!.read(name)];
      const row = before!.tensors.get(name)!.shape[1]! * 4;
      expect(now.subarray(0, 259 * row)).toEqual(old.subarray(0, 259 * row));
      for (const id of [259, 260])
        expect(now.subarray(id * row, (id + 1) * row)).not.toEqual(old.subarray(id * row, (id + 1) * row));
    }
    const verify = ["verify", "--model", "run-base", "--adapter", "run/adapter", "--merged", "merged", "--json"];
    expect((await runCli(verify, { cwd })).document()["max_logit_difference"]).toBeLessThan(1e-4);
    await Promise.all([before!.close(), after!.close()]);
    const more = (output: string, tokens: string): ReturnType<typeof runCli> => {
      const sets = [`output=${output}`, "tune.init_from=run/adapter", `tune.train_new_tokens=${tokens}`];
      return runCli(["train", "run.yaml", "--json", ...sets.flatMap((set) => ["--set", set])], { cwd });
    };
    const again = await more("again", "true");
    expect(again.exitCode, again.stderr).toBe(0);
    expect((await more("third", "[<s>]")).document().error).toMatchObject({
      code: "CONFIG_CONFLICT",
      expected: expect.stringContaining("259"),
    });
  });
  test.each([
    ["true without new tokens", ["data.add_special_tokens=false", "tune.train_new_tokens=true"], /no token was added/],
    ["a token that is not there", ["tune.train_new_tokens=[<|no|>]"], /<\|no\|>/],
    ["beside modules_to_save", ["tune.train_new_tokens=true", "tune.modules_to_save=[lm_head]"], /modules_to_save/],
    ["with all weights", ["tune.train_new_tokens=true", "tune.method=full"], /train_new_tokens/],
  ])("%s is refused", async (_, sets, message) => {
    const flags = [...sets, "data.chat_template=chatml"].flatMap((set) => ["--set", set]);
    const { exitCode, document } = await runCli(["train", "run.yaml", ...flags, "--json"], { cwd: place() });
    expect([exitCode, document().error.message]).toEqual([2, expect.stringMatching(message)]);
  });
});

describe("what is refused", () => {
  test.each([
    [
      "true with a template whose tokens are not known",
      ["--set", "data.chat_template=auto"],
      "CONFIG_CONFLICT",
      /add_special_tokens/,
    ],
  ])("%s", async (_, flags, code, message) => {
    const { exitCode, document } = await runCli(["inspect", "run.yaml", ...flags, "--json"], { cwd: place() });
    expect([exitCode, document()]).toEqual([
      2,
      { error: expect.objectContaining({ code, message: expect.stringMatching(message) as string }) as unknown },
    ]);
  });
  test("a folder in the way that was not made here", async () => {
    const cwd = folderWith({
      ...modelFolder("model", { weights: true, template: null }),
      "d.jsonl": JSON.stringify(ROW),
      "run.yaml": CONFIG,
      "run-base/thesis.txt": "years of work",
    });
    const { document } = await runCli(["inspect", "run.yaml", "--json"], { cwd });
    expect(document()).toMatchObject({ error: { code: "OUTPUT_NOT_A_RUN" } });
    expect(existsSync(join(cwd, "run-base", "thesis.txt"))).toBe(true);
  });
});
