import { cpSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";
import { modelFolder } from "../../../../tests/support/model-folder.ts";

const goldens = fileURLToPath(new URL("../../../../fixtures/goldens/", import.meta.url));
const MERGE = ["merge", "--model", "model", "--adapter", "adapter", "--out", "merged", "--json"];

/** A model with an adapter that PEFT trained on it. */
function folder(): string {
  const cwd = folderWith(modelFolder("model", { weights: true }));
  cpSync(join(goldens, "lora/llama_qkvo/adapter"), join(cwd, "adapter"), { recursive: true });
  cpSync(join(goldens, "lora/llama_all_linear/adapter"), join(cwd, "other"), { recursive: true });
  return cwd;
}

describe("merge and verify", () => {
  test("the merged model's logits are those of base and adapter", async () => {
    const cwd = folder();
    expect((await runCli(MERGE, { cwd })).document()).toMatchObject({ modules: 8, dtype: "as stored" });
    expect(readdirSync(join(cwd, "merged")).toSorted()).toEqual(readdirSync(join(cwd, "model")).toSorted());
    const verify = ["verify", "--model", "model", "--adapter", "adapter", "--json"];
    const same = await runCli([...verify, "--merged", "merged"], { cwd });
    expect(same.document()).toMatchObject({ prompts: 16, same_top_token: 1 });
    expect(same.document()["max_logit_difference"]).toBeLessThan(1e-4);
    expect(same.document()["max_kl"]).toBeLessThan(1e-8);
    const base = (await runCli([...verify, "--merged", "model", "--prompts", "3"], { cwd })).document();
    expect(base).toMatchObject({ prompts: 3 });
    expect(base["max_logit_difference"]).toBeGreaterThan(1e-2);
  });
  test("--dtype is written to the weights and to config.json", async () => {
    const cwd = folder();
    await runCli([...MERGE, "--dtype", "bf16"], { cwd });
    const config = JSON.parse(readFileSync(join(cwd, "merged/config.json"), "utf8")) as Record<string, unknown>;
    expect(config["dtype"] ?? config["torch_dtype"]).toBe("bfloat16");
    const verify = ["verify", "--model", "model", "--adapter", "adapter", "--merged", "merged", "--json"];
    const difference = (await runCli(verify, { cwd })).document()["max_logit_difference"];
    expect(difference).toBeGreaterThan(1e-4);
    expect(difference).toBeLessThan(0.5);
  });
  test("--requantize: into a base in four bits, and only asked for", async () => {
    const cwd = folder();
    await runCli(["quantize", "--model", "model", "--out", "four", "--double-quant"], { cwd });
    const merge = MERGE.map((word) => (word === "model" ? "four" : word));
    expect((await runCli(merge, { cwd })).document()).toMatchObject({
      error: { code: "MERGE_UNSUPPORTED", fix: expect.stringContaining("--requantize") },
    });
    const plain = await runCli([...MERGE, "--requantize"], { cwd });
    expect(plain.document()).toMatchObject({ error: { code: "MERGE_UNSUPPORTED" } });
    expect(existsSync(join(cwd, "merged"))).toBe(false);

    const merged = await runCli([...merge, "--requantize"], { cwd });
    const damage = merged.document()["damage"] as Record<string, number> & { modules: object[] };
    expect(damage.modules).toHaveLength(8);
    expect(damage["relative_error"]).toBeGreaterThan(0.02);
    expect(damage["relative_error"]).toBeLessThan(0.2);
    const verify = ["verify", "--model", "four", "--adapter", "adapter", "--merged", "merged", "--json"];
    const off = (await runCli(verify, { cwd })).document()["max_logit_difference"];
    expect(off).toBeGreaterThan(1e-3);
    expect(off).toBeLessThan(2);
    const text = await runCli(["merge", "--model", "four", "--adapter", "adapter", "--out", "again", "--requantize"], {
      cwd,
    });
    expect(text.stdout).toMatch(/8 modules merged .* rounded to four bits again\n.*% of their length, .* times as far/);
  });
  test("a folder that is there stays as it is, and a failure leaves nothing", async () => {
    const cwd = folder();
    const taken = MERGE.map((word) => (word === "merged" ? "other" : word));
    expect((await runCli(taken, { cwd })).document()).toMatchObject({ error: { code: "OUTPUT_EXISTS" } });
    const wrong = [...MERGE, "--dtype", "f8"];
    expect((await runCli(wrong, { cwd })).document()).toMatchObject({ error: { code: "FLAG_INVALID" } });
    expect(existsSync(join(cwd, "merged"))).toBe(false);
    expect(readdirSync(cwd).toSorted()).toEqual(["adapter", "model", "other"]);
  });
});

describe("adapter", () => {
  test("diff: an adapter and itself, and another one", async () => {
    const cwd = folder();
    const diff = async (second: string): Promise<Record<string, unknown>> =>
      (await runCli(["adapter", "diff", "adapter", second, "--json"], { cwd })).document();
    expect((await diff("adapter"))["relative_distance"]).toBeLessThan(1e-6);
    const other = await diff("other");
    expect(other["relative_distance"]).toBeGreaterThan(0.5);
    expect(other["modules"]).toHaveLength(14);
  });
  test("merge and resize write folders that load; an exact sum minus itself is nothing", async () => {
    const cwd = folder();
    const merge = ["adapter", "merge", "adapter", "adapter", "--weights", "1.5,-0.5", "--out", "sum", "--json"];
    expect((await runCli(merge, { cwd })).document()).toMatchObject({ r: 8, modules: 8 });
    const resize = ["adapter", "resize", "sum", "--rank", "4", "--out", "small", "--json"];
    expect((await runCli(resize, { cwd })).document()).toMatchObject({ r: 4, least_kept: expect.closeTo(1, 6) });
    const diff = (await runCli(["adapter", "diff", "adapter", "small", "--json"], { cwd })).document();
    expect(diff["relative_distance"]).toBeLessThan(1e-5);
    await runCli(
      MERGE.map((word) => (word === "adapter" ? "small" : word)),
      { cwd },
    );
    const verify = ["verify", "--model", "model", "--adapter", "adapter", "--merged", "merged", "--json"];
    expect((await runCli(verify, { cwd })).document()["max_logit_difference"]).toBeLessThan(1e-4);
  });
  test.each([
    [["adapter", "join", "adapter"], "COMMAND_UNKNOWN"],
    [["adapter", "diff", "adapter"], "FLAG_INVALID"],
    [["adapter", "diff", "adapter", "other", "--rank", "3"], "FLAG_CONFLICT"],
    [["adapter", "merge", "adapter", "other", "--type", "sum", "--out", "x"], "FLAG_INVALID"],
    [["adapter", "merge", "adapter", "other", "--weights", "1,x", "--out", "x"], "COMBINATION_INVALID"],
    [["adapter", "merge", "adapter", "other"], "FLAG_MISSING"],
    [["adapter", "resize", "adapter", "--out", "x"], "FLAG_MISSING"],
    [["adapter", "diff", "adapter", "model"], "FILE_MISSING"],
  ])("%j: %s", async (argv, code) => {
    const cwd = folder();
    expect((await runCli([...argv, "--json"], { cwd })).document()).toMatchObject({ error: { code } });
    expect(readdirSync(cwd).toSorted()).toEqual(["adapter", "model", "other"]);
  });
});
