// What `train` leaves for a later stage: opened, loaded and scored by library calls alone. Needs a WebGPU device.
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fourBitCodec } from "@tunesmith/lora";
import { loadModel } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import { evaluate, loadAdapter, openHandOver } from "@tunesmith/sft";
import { beforeAll, describe, expect, test } from "vitest";
import { folderWith, runCli } from "../../../tests/support/cli.ts";
import { testDevice } from "../../../tests/support/device.ts";
import { CHAT_TEMPLATE, EOS, idsOf, modelFolder } from "../../../tests/support/model-folder.ts";

const files = nodeFiles();
const MESSAGES = [
  { role: "user", content: "1+1" },
  { role: "assistant", content: "2" },
];
const FILES: Record<string, string | Uint8Array> = {
  ...modelFolder("model", { weights: true }),
  "d.jsonl": Array.from({ length: 6 }, () => JSON.stringify({ messages: MESSAGES })).join("\n"),
  "e.jsonl": JSON.stringify({ input_ids: [...idsOf("1+1=2"), EOS] }),
};
const config = (tune: string): string => `model: model
output: run
data: {train: [{path: d.jsonl}], eval: [{path: e.jsonl, name: e}], max_length: 64}
tune: ${tune}
train: {max_steps: 2, batch_size: 2, learning_rate: 1.0e-2}
`;
/** @param pad - the tokenizer's padding token */
async function trained(tune: string, pad: string): Promise<string> {
  const tokenizer = JSON.parse(String(FILES["model/tokenizer_config.json"])) as object;
  const padded = { "model/tokenizer_config.json": JSON.stringify({ ...tokenizer, pad_token: pad }) };
  const cwd = folderWith({ ...FILES, ...padded, "run.yaml": config(tune) });
  const { exitCode, stderr } = await runCli(["train", "run.yaml"], { cwd });
  expect([exitCode, stderr]).toEqual([0, expect.any(String)]);
  return cwd;
}

describe.each([
  ["lora", "{r: 2}", null, "</s>", null],
  [
    "qlora",
    "{method: qlora, r: 2}",
    { type: "nf4", double_quant: true, block_size: 64, skip_modules: [] },
    "</s>",
    null,
  ],
  ["full", "{method: full}", null, "<unk>", 0],
] as const)("%s", (method, tune, quantization, pad, padId) => {
  let cwd: string;
  beforeAll(async () => {
    cwd = await trained(tune, pad);
  });

  test("says all that a later stage must know, and gives the loss it speaks of", async () => {
    const handOver = await openHandOver(files, join(cwd, "run"));
    const ids = { pad_id: padId, eos_ids: [EOS], bos_id: 1, add_bos: false, max_length: 64 };
    expect(handOver).toMatchObject({
      method,
      base: { quantization },
      template: CHAT_TEMPLATE,
      steps: 2,
      kept_step: 2,
      ...ids,
    });
    const { model: modelPath, adapter: adapterPath } = handOver.paths;
    const quant = handOver.base.quantization;
    const quantize = quant && { type: quant.type, doubleQuant: quant.double_quant, blockSize: quant.block_size };
    const codec = fourBitCodec(quantize ? { quantize } : {});
    const model = await loadModel(await testDevice(), files, modelPath, { positions: 64, codec });
    const adapter = adapterPath === undefined ? undefined : await loadAdapter(model, files, adapterPath);
    const inputIds = Int32Array.from([...idsOf("1+1=2"), EOS]);
    const targets = Int32Array.from(inputIds, (_, t) => inputIds[t + 1] ?? -100);
    const targetWeights = Float32Array.from(targets, (t) => Number(t !== -100));
    const examples = [{ inputIds, targets, targetWeights, task: "e", row: 0 }];
    const { loss } = await evaluate({ model, adapter }, { examples, batchSize: 1 }, ["e"]);
    expect(Math.abs(loss - handOver.eval!.loss)).toBeLessThan(1e-6);
    adapter?.dispose();
    model.dispose();
  });

  test.each([
    ["tokenizer", (kind: string) => `run/${kind}/tokenizer.json`],
    ["chat template", (kind: string) => `run/${kind}/chat_template.jinja`],
    [
      method === "full" ? "model" : "adapter",
      (kind: string) => `run/${kind}/${kind === "model" ? "model" : "adapter_model"}.safetensors`,
    ],
    ...(method === "full" ? [] : [["base", () => "model/model.safetensors"] as const]),
  ] as const)("another %s is refused by name", async (what, path) => {
    const copy = folderWith();
    cpSync(cwd, copy, { recursive: true });
    const file = join(copy, ...path(method === "full" ? "model" : "adapter").split("/"));
    const bytes = readFileSync(file);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(file, bytes);
    const opened = openHandOver(files, join(copy, "run"), { base: join(copy, "model") });
    await expect(opened).rejects.toMatchObject({
      code: "HANDOVER_CHANGED",
      message: expect.stringContaining(`the ${what} is not`),
    });
    if (what === "adapter" || what === "base")
      expect((await openHandOver(files, join(copy, "run"), { verify: false })).method).toBe(method);
  });
});

test("what is no run that has ended, or of another format, says so; `check` knows runs", async () => {
  const cwd = await trained("{r: 2}", "<unk>");
  expect((await runCli(["check", "run"], { cwd })).stdout).toContain("run, lora, 2 steps");
  await expect(openHandOver(files, join(cwd, "model"))).rejects.toMatchObject({ code: "HANDOVER_UNSOUND" });
  const path = join(cwd, "run", "sft.json");
  const good = JSON.parse(readFileSync(path, "utf8")) as object;
  for (const wrong of [
    { format_version: 2 },
    { base: null },
    { eos_ids: ["2"] },
    { model: "model" },
    { steps: null },
  ]) {
    writeFileSync(path, JSON.stringify({ ...good, ...wrong }));
    await expect(openHandOver(files, join(cwd, "run"))).rejects.toMatchObject({ code: "HANDOVER_UNSOUND" });
  }
});
