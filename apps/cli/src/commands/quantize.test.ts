import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openSafetensors } from "@tunesmith/safetensors";
import { nodeFiles } from "@tunesmith/node";
import { describe, expect, test } from "vitest";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";
import { goldenPath } from "../../../../tests/support/goldens.ts";
import { modelFolder } from "../../../../tests/support/model-folder.ts";

const MODEL = modelFolder("model", { weights: true });

describe("quantize", () => {
  test("writes the folder that bitsandbytes would, and check, logprobs and eval take it", async () => {
    const cwd = folderWith({ ...MODEL, "d.jsonl": '{"text": "hello there"}\n' });
    const quantized = await runCli(["quantize", "--model", "model", "--out", "four", "--double-quant", "--json"], {
      cwd,
    });
    expect(quantized.exitCode, quantized.stderr).toBe(0);
    expect(quantized.document()).toMatchObject({ type: "nf4", double_quant: true, block_size: 64, matrices: 14 });
    expect(readdirSync(join(cwd, "four")).sort()).toEqual([
      "config.json",
      "model.safetensors",
      "tokenizer.json",
      "tokenizer_config.json",
    ]);
    const theirs = JSON.parse(readFileSync(goldenPath("models", "llama-nf4-bnb", "config.json"), "utf8")) as {
      quantization_config: object;
    };
    const ours = JSON.parse(readFileSync(join(cwd, "four", "config.json"), "utf8")) as typeof theirs;
    expect(ours.quantization_config).toEqual(theirs.quantization_config);
    // transformers refuses a threshold of 6
    expect(readFileSync(join(cwd, "four", "config.json"), "utf8")).toMatch(/"llm_int8_threshold": 6\.0,/);
    const files = nodeFiles();
    const written = await openSafetensors(files, join(cwd, "four", "model.safetensors"));
    const golden = await openSafetensors(files, goldenPath("models", "llama-nf4-bnb", "model.safetensors"));
    for (const name of golden.tensors.keys()) expect(await written.read(name), name).toEqual(await golden.read(name));
    await written.close();
    await golden.close();

    const check = await runCli(["check", "four", "--json"], { cwd });
    expect(check.exitCode, check.stdout).toBe(0);
    const four = await runCli(["eval", "--model", "four", "--data", "d.jsonl", "--json"], { cwd });
    const plain = await runCli(["eval", "--model", "model", "--data", "d.jsonl", "--json"], { cwd });
    const [a, b] = [four.document()["loss"] as number, plain.document()["loss"] as number];
    expect(Math.abs(a - b)).toBeGreaterThan(1e-4);
    expect(Math.abs(a - b)).toBeLessThan(2);
  });

  test.each([
    [["--type", "int4"], "FLAG_INVALID"],
    [["--block-size", "48"], "QUANT_INVALID"],
  ])("%j is refused before anything is written", async (flags, code) => {
    const cwd = folderWith(MODEL);
    const result = await runCli(["quantize", "--model", "model", "--out", "four", ...flags, "--json"], { cwd });
    expect(result.document().error.code).toBe(code);
    expect(readdirSync(cwd)).toEqual(["model"]);
  });

  test("GPT-2's weights, which lie turned, are refused", async () => {
    const cwd = folderWith();
    const gpt2 = goldenPath("models", "gpt2");
    const result = await runCli(["quantize", "--model", gpt2, "--out", "four", "--json"], { cwd });
    expect(result.document().error).toMatchObject({
      code: "QUANT_UNSUPPORTED",
      received: "transformer.h.0.attn.c_attn",
    });
    expect(readdirSync(cwd)).toEqual([]);
  });

  test("a folder that holds something stays as it is; a quantized one is not quantized again", async () => {
    const cwd = folderWith({ ...MODEL, "four/mine.txt": "x" });
    const full = await runCli(["quantize", "--model", "model", "--out", "four", "--json"], { cwd });
    expect(full.document().error.code).toBe("OUTPUT_EXISTS");
    await runCli(["quantize", "--model", "model", "--out", "once", "--type", "fp4"], { cwd });
    const twice = await runCli(["quantize", "--model", "once", "--out", "twice", "--json"], { cwd });
    expect(twice.document().error).toMatchObject({ code: "ARCHITECTURE_UNSUPPORTED" });
    expect(readdirSync(cwd).sort()).toEqual(["four", "model", "once"]);
  });
});
