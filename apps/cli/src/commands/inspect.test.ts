import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";
import { modelFolder } from "../../../../tests/support/model-folder.ts";

const QA = Array.from({ length: 10 }, (_, i) => JSON.stringify({ prompt: `Q${i}:`, completion: "ok" })).join("\n");
const CHAT = JSON.stringify({
  messages: [
    { role: "user", content: "hi" },
    { role: "assistant", content: "yes <b>" },
    { role: "user", content: "so" },
    { role: "assistant", content: "no" },
  ],
});

function folder(data: string, rest = ""): string {
  return folderWith({
    ...modelFolder("model"),
    "run.yaml": `model: model\noutput: runs/x\ndata:\n${data}${rest}`,
    "qa.jsonl": QA,
    "chat.jsonl": CHAT,
  });
}

describe("inspect", () => {
  test("shows which tokens are trained, and counts them", async () => {
    const cwd = folder("  train: [{path: qa.jsonl}]\n", "train: {batch_size: 4, epochs: 2}\n");
    const result = await runCli(["inspect", "run.yaml", "--rows", "1", "--json"], { cwd });
    expect(result.exitCode).toBe(0);
    expect(result.document()).toMatchObject({
      samples: [
        {
          task: "qa",
          row: 0,
          tokens: 6,
          targets: 3,
          segments: [
            { text: "Q0:", trained: false, tokens: 3 },
            { text: "ok</s>", trained: true, tokens: 3 },
          ],
        },
      ],
      mask_report: {
        format_version: 1,
        max_length: 128,
        longest: 6,
        examples: 10,
        tokens: 60,
        targets: 30,
        target_share: 0.5,
        lost: { rows: 0, of_rows: 10, tokens: 0, of_tokens: 60, share: 0 },
        tasks: { qa: { examples: 10, tokens: 60, targets: 30, example_share: 1 } },
      },
      objective: "token_mean",
      steps: 6, // ceil(10 / 4) windows in each of two epochs
      steps_per_epoch: 3,
      eval_rows: 0,
    });
  });

  test("every assistant turn of a conversation is trained, and train_on: last only the last", async () => {
    const cwd = folder("  train: [{path: chat.jsonl}]\n");
    const trained = async (...args: string[]): Promise<string[]> => {
      const { document } = await runCli(["inspect", "run.yaml", "--json", ...args], { cwd });
      const [sample] = document()["samples"] as { segments: { text: string; trained: boolean }[] }[];
      return sample!.segments.filter((segment) => segment.trained).map((segment) => segment.text);
    };
    expect(await trained()).toEqual(["yes <b></s>", "no</s>"]);
    expect(await trained("--set", "data.train_on=last")).toEqual(["no</s>"]);
  });

  test("tasks are drawn by rule, and weights change at a step", async () => {
    const cwd = folder(
      "  train: [{path: qa.jsonl}, {path: chat.jsonl}]\n  sampling: equal\n  sampling_schedule: [{step: 3, weights: {qa: 1, chat: 0}}]\n",
      "train: {batch_size: 2, max_steps: 6}\n",
    );
    expect((await runCli(["inspect", "run.yaml", "--json"], { cwd })).document()).toMatchObject({ steps: 6 });
    const wrong = ["inspect", "run.yaml", "--json", "--set", "data.sampling_schedule=[{step: 3, weights: {qa: 1}}]"];
    expect((await runCli(wrong, { cwd })).document()).toMatchObject({ error: { code: "MIXTURE_INVALID" } });
  });

  test("says what repeats, what leaks and how little there is; drop takes it out", async () => {
    const line = (text: string): string => JSON.stringify({ text });
    const cwd = folderWith({
      ...modelFolder("model"),
      "run.yaml": "model: model\noutput: runs/x\ndata:\n  train: [{path: a.jsonl}]\n  eval: [{path: b.jsonl}]\n",
      "a.jsonl": ["one", "two", "one", "three", "four"].map(line).join("\n"),
      "b.jsonl": ["two", "five"].map(line).join("\n"),
    });
    const inspect = async (...sets: string[]): Promise<Record<string, unknown>> =>
      (await runCli(["inspect", "run.yaml", "--json", ...sets.flatMap((set) => ["--set", set])], { cwd })).document();
    const found = {
      duplicates: { rows: 1, dropped: false, examples: [[0, 2]] },
      near_duplicates: null,
      contamination: { eval: { held_rows: 1, of_rows: 2, train_rows: 1, examples: [{ held_row: 0, train_row: 1 }] } },
    };
    expect(await inspect()).toMatchObject({
      mask_report: { examples: 5, quality: found },
      warnings: [
        expect.stringMatching(/^5 training rows are very few/),
        expect.stringMatching(/^rows that repeat an earlier one: 1, such as row 2 and row 0/),
        expect.stringMatching(/^eval rows that training rows contain: 1 of 2/),
      ],
    });
    expect(await inspect("data.duplicates=drop", "data.contamination=drop")).toMatchObject({
      mask_report: {
        examples: 3,
        quality: { duplicates: { dropped: true }, contamination: { eval: { dropped: true } } },
      },
    });
    expect(await inspect("data.near_duplicates=report", "data.contamination=none")).toMatchObject({
      mask_report: { quality: { near_duplicates: { rows: 0 }, contamination: {} } },
    });
    expect(await inspect("data.contamination=error")).toMatchObject({ error: { code: "CONTAMINATED" } });
  });

  test("counts shares per task, in rows and in targets; loss weights make the objective task_mean", async () => {
    const cwd = folder("  train: [{path: qa.jsonl, loss_weight: 2}, {path: chat.jsonl}]\n");
    const document = (await runCli(["inspect", "run.yaml", "--json"], { cwd })).document();
    expect(document["objective"]).toBe("task_mean");
    const { tasks } = document["mask_report"] as {
      tasks: Record<string, { example_share: number; target_share: number }>;
    };
    expect(tasks["qa"]!.example_share).toBeCloseTo(10 / 11);
    expect(tasks["qa"]!.target_share).toBeCloseTo(30 / (30 + 8 + 3)); // "yes <b></s>" is 8 tokens, "no</s>" 3
  });

  test("packs rows into bins, which batch_size then counts", async () => {
    // ten rows of 6 tokens, two to a bin of 12: five bins, two a step
    const cwd = folder(
      "  train: [{path: qa.jsonl}]\n  max_length: 12\n  packing: bins\n",
      "train: {batch_size: 2, epochs: 1}\n",
    );
    expect((await runCli(["inspect", "run.yaml", "--json"], { cwd })).document()).toMatchObject({ steps: 3 });
  });

  test("an entry may have a length of its own", async () => {
    const cwd = folder("  train: [{path: qa.jsonl, max_length: auto}]\n  max_length: 3\n");
    expect((await runCli(["inspect", "run.yaml", "--json"], { cwd })).exitCode).toBe(0);
    const long = folder("  train: [{path: qa.jsonl, max_length: 200}]\n");
    const { document } = await runCli(["inspect", "run.yaml", "--json"], { cwd: long });
    expect(document().error).toMatchObject({
      code: "CONFIG_CONFLICT",
      message: expect.stringContaining("data.train[0].max_length"),
    });
  });

  test("holds rows back for evaluation", async () => {
    const cwd = folder("  train: [{path: qa.jsonl}]\n  eval_split: 0.2\n  test: [{path: chat.jsonl}]\n");
    const document = (await runCli(["inspect", "run.yaml", "--json"], { cwd })).document();
    expect(document).toMatchObject({ eval_rows: 2, test_rows: 1, mask_report: { examples: 8 } });
  });

  test("weights are shown, and rows that train no end of generation are warned of", async () => {
    const messages = [
      { role: "user", content: "hi" },
      { role: "assistant", content: "no 🦊", weight: 0.5 },
      { role: "user", content: "so" },
      { role: "assistant", content: "yes" },
    ];
    const cwd = folderWith({
      ...modelFolder("model"),
      "run.yaml": "model: model\noutput: runs/x\ndata:\n  train: [{path: w.jsonl}]\n",
      "w.jsonl": JSON.stringify({ messages }),
      "short.jsonl": JSON.stringify({ messages: messages.slice(2) }),
    });
    const inspect = async (...args: string[]) =>
      (await runCli(["inspect", "run.yaml", "--html", "w.html", "--json", ...args], { cwd })).document();
    const document = await inspect();
    const [{ segments }] = document["samples"] as [{ segments: object[] }];
    expect(segments).toMatchObject([
      { text: "user: hi\nassistant: ", trained: false, weight: 0 },
      { text: "no 🦊</s>", trained: true, weight: 0.5 },
      { text: "\nuser: so\nassistant: ", trained: false, weight: 0 },
      { text: "yes</s>", trained: true, weight: 1 },
      { text: "\n", trained: false, weight: 0 },
    ]);
    expect(document["mask_report"]).toMatchObject({ ends: { ids: [2], examples: 1, share: 1 } });
    expect(readFileSync(join(cwd, "w.html"), "utf8")).toContain(
      '<mark class="own" title="weight 0.5">no 🦊&lt;/s&gt;</mark>',
    );
    // bytes of the marks instead of tokens, and another end than the model's
    const chatml = await inspect("--set", "data.chat_template=chatml", "--set", "data.train.0.path=short.jsonl");
    expect(chatml["mask_report"]).toMatchObject({ ends: { examples: 0, share: 0 } });
    const warnings = chatml["warnings"] as string[];
    expect(warnings).toContainEqual(expect.stringMatching(/will not learn to stop/));
    expect(warnings).toContainEqual(expect.stringMatching(/<\|im_start\|> <\|im_end\|>.*add_special_tokens/));
    const added = await inspect("--set", "data.chat_template=llama2");
    expect((added["warnings"] as string[]).filter((text) => /stop|add_special/.test(text))).toEqual([]);
  });

  test("an entry's own train_on, chat_template, overlong and max_length", async () => {
    const cwd = folderWith({
      ...modelFolder("model"),
      "run.yaml": `model: model
output: runs/x
data:
  train:
    - {path: chat.jsonl, name: a}
    - {path: chat.jsonl, name: b, train_on: last, chat_template: llama2}
    - {path: qa.jsonl, name: c, max_length: 5, overlong: truncate}
    - {path: qa.jsonl, name: d, max_length: 5, overlong: drop}
    - {path: qa.jsonl, name: e, train_on: all}
  duplicates: report
gates: {max_lost: 1}
`,
      "qa.jsonl": [QA, JSON.stringify({ prompt: "Q:", completion: "o" })].join("\n"),
      "chat.jsonl": CHAT,
    });
    const { document, exitCode } = await runCli(["inspect", "run.yaml", "--rows", "100", "--json"], { cwd });
    expect(exitCode).toBe(0);
    const samples = document()["samples"] as { task: string; segments: { text: string; trained: boolean }[] }[];
    const of = (task: string): string[] =>
      samples
        .filter((sample) => sample.task === task)
        .map(({ segments }) => segments.map(({ text, trained }) => (trained ? `[${text}]` : text)).join(""));
    expect(of("a")).toEqual(["user: hi\nassistant: [yes <b></s>]\nuser: so\nassistant: [no</s>]\n"]);
    expect(of("b")).toEqual(["<s>[INST] hi [/INST] yes <b> </s><s>[INST] so [/INST][ no </s>]"]);
    expect([of("c")[0], of("c").length]).toEqual(["Q0:[ok]", 11]);
    expect(of("d")).toEqual(["Q:[o</s>]"]);
    expect(of("e")[0]).toBe("Q[0:ok</s>]"); // the first token of a text is no target
    const { files, lost } = document()["mask_report"] as { files: object[]; lost: object };
    expect(files.slice(2)).toMatchObject([
      { rows: 11, rows_truncated: 10, tokens_lost: 10 },
      { rows: 11, rows_too_long: 10, tokens_lost: 60, examples: 1 },
      { rows: 11, tokens_lost: 0 },
    ]);
    expect(lost).toMatchObject({ rows: 10, of_rows: 35, tokens: 70 });
    const strict = await runCli(["inspect", "run.yaml", "--set", "gates.max_lost=0.05", "--json"], { cwd });
    expect(strict.document()).toMatchObject({ error: { code: "TOO_MUCH_LOST" } });
  });

  test("--html writes a page in which the rows' own markup is text", async () => {
    const cwd = folder("  train: [{path: chat.jsonl}]\n");
    await runCli(["inspect", "run.yaml", "--html", "out.html"], { cwd });
    expect(readFileSync(join(cwd, "out.html"), "utf8")).toContain("<mark>yes &lt;b&gt;&lt;/s&gt;</mark>");
  });

  test("a length the model cannot take is told at its key", async () => {
    const cwd = folder("  train: [{path: qa.jsonl}]\n  max_length: 129\n");
    const result = await runCli(["inspect", "run.yaml", "--json"], { cwd });
    expect(result.exitCode).toBe(2);
    expect(result.document().error).toMatchObject({ code: "CONFIG_CONFLICT", line: 5, expected: "at most 128" });
  });
});
