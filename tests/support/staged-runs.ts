// Runs of two stages on a tiny model, three steps each.
import { createHash } from "node:crypto";
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { folderWith, runCli } from "./cli.ts";
import { modelFolder } from "./model-folder.ts";

const TEXT = Array.from({ length: 6 }, (_, i) => JSON.stringify({ text: `${i} and ${i} is ${2 * i}` }));
const ROWS = Array.from({ length: 6 }, (_, i) => JSON.stringify({ prompt: `${i}+${i}=`, completion: `${2 * i}` }));
export const FILES = {
  ...modelFolder("model", { weights: true }),
  "text.jsonl": TEXT.join("\n"),
  "rows.jsonl": ROWS.join("\n"),
};
export const TRAIN = "{batch_size: 2, max_steps: 3, learning_rate: 1.0e-2, schedule: constant, warmup_steps: 0}";

/** A config of them: what each says beside its data. */
export function staged(...stages: readonly [first: string, second: string]): string {
  return `model: model
output: run
train: ${TRAIN}
data: {shuffle: false}
checkpoint: {every: 1}
stages:
  - {name: domain, data: {train: [{path: text.jsonl, name: t}]}, ${stages[0]}}
  - {name: instruct, data: {train: [{path: rows.jsonl, name: r}]}, ${stages[1]}}
`;
}
export const LORA = "tune: {r: 2, target_modules: [q_proj, down_proj]}";
export const FULL = "tune: {method: full}";

/** Text, then instructions with an evaluation. */
export const INSTRUCTED = staged(LORA, "eval: {every: 1}, tune: {dropout: 0.2}").replace(
  "rows.jsonl, name: r}]",
  "rows.jsonl}], eval_split: 0.4",
);

export const sha256 = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");
/** A JSON file of the run. */
export const json = (path: string): Record<string, unknown> =>
  JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
export const run = (cwd: string, ...argv: string[]): ReturnType<typeof runCli> => runCli([...argv, "--json"], { cwd });
/** The folder of a finished run. */
export async function trained(config: string): Promise<string> {
  const cwd = folderWith({ ...FILES, "run.yaml": config });
  const { exitCode, stderr } = await run(cwd, "train", "run.yaml");
  if (exitCode !== 0) throw new Error(stderr);
  return cwd;
}

/** SHA-256 of a result of six steps: in one run, in two stages that keep the optimizer's moments, in two that do not. */
export async function asOneOrTwo(
  [first, second]: readonly [first: string, second: string],
  result: readonly string[],
): Promise<Record<"one" | "kept" | "fresh", string>> {
  const one = await trained(`model: model
output: run
train: ${TRAIN.replace("3", "6")}
data: {shuffle: false, train: [{path: text.jsonl, name: t}, {path: rows.jsonl, name: r}]}
${first}
`);
  const kept = await trained(staged(first, `${second}, optimizer_state: keep`));
  const fresh = await trained(staged(first, second));
  return {
    one: sha256(join(one, "run", ...result)),
    kept: sha256(join(kept, "run", "instruct", ...result)),
    fresh: sha256(join(fresh, "run", "instruct", ...result)),
  };
}

/** The folder as a process would have left it that was killed after a checkpoint of a stage; none: before its first. */
export function killedIn(whole: string, stage: "domain" | "instruct", step: number | undefined): string {
  const cwd = folderWith();
  cpSync(whole, cwd, { recursive: true });
  const at = (...parts: string[]): string => join(cwd, "run", ...parts);
  const { stages, ...rest } = json(at("stages.json"));
  const through = stage === "domain" ? 0 : 1;
  writeFileSync(at("stages.json"), JSON.stringify({ ...rest, stages: (stages as object[]).slice(0, through) }));
  if (stage === "domain") rmSync(at("instruct"), { recursive: true });
  if (step === undefined) rmSync(at(stage), { recursive: true });
  else {
    for (const name of readdirSync(at(stage, "checkpoints")))
      if (Number(name.slice(5)) > step) rmSync(at(stage, "checkpoints", name), { recursive: true });
    for (const name of ["adapter", "sft.json"]) rmSync(at(stage, name), { recursive: true });
  }
  return cwd;
}
/** Everything that must not depend on when a run stopped. */
export const outcome = (cwd: string): unknown =>
  ["domain", "instruct"].map((stage) => {
    const at = (...parts: string[]): string => join(cwd, "run", stage, ...parts);
    const metrics = readFileSync(at("metrics.jsonl"), "utf8").trimEnd().split("\n");
    return [
      sha256(at("adapter", "adapter_model.safetensors")),
      sha256(at("checkpoints", "step-3", "optimizer.safetensors")),
      metrics.map((line) => ({ ...(JSON.parse(line) as object), timing: undefined })),
    ];
  });
