// `tune.init_lora_weights: pissa | olora | loftq`: the adapter's start is computed from the base's weights, once, in a folder
// beside the run: start.json, adapter/, and for pissa and olora model/, the base without what the adapter starts with.

import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { Files } from "@tunesmith/core";
import {
  combineAdapters,
  type ComputedStart,
  computeStart,
  type LoraConfig,
  loraShapes,
  mergeAdapter,
  peftNames,
  readPeftAlone,
  resolveTargets,
  writePeftFolder,
} from "@tunesmith/lora";
import { linearPaths, readModelConfig, replaceableWeights } from "@tunesmith/models";
import { openModel } from "@tunesmith/safetensors";
import { quantizedModules } from "./base-weights.ts";
import type { LoadedConfig, ResolvedConfig } from "./config/load.ts";
import { configError } from "./config/problem.ts";
import type { Context } from "./context.ts";
import { CliError } from "./errors.ts";
import { weightsOf, withAddedTokens } from "./grown-base.ts";
import { loraConfigOf } from "./lora-config.ts";
import { writeLikeBase } from "./merged-weights.ts";
import { copyModelFiles, copyTemplates } from "./model-files.ts";
import { newFolder } from "./new-folder.ts";
import { readTextFile } from "./read-file.ts";
import { requireFolder } from "./tuned-model.ts";

const MARK = "start.json";

interface Mark {
  readonly format_version: 1;
  readonly model: string;
  readonly weights: Record<string, number>;
  /** all that the start depends on */
  readonly settings: Record<string, unknown>;
}

/** The config with the base that it trains on: with added tokens, without what its adapter starts with. */
export async function withBase(written: LoadedConfig, files: Files, context: Context): Promise<LoadedConfig> {
  return withComputedStart(await withAddedTokens(written, files, context), files, context);
}

/**
 * The config with its start and the base that belongs to it; the config itself where its start needs no weights.
 * @throws CliError `CONFIG_CONFLICT`, `OUTPUT_NOT_A_RUN`; LoraError as `computeStart` does
 */
async function withComputedStart(loaded: LoadedConfig, files: Files, context: Context): Promise<LoadedConfig> {
  const { config } = loaded;
  const kind = computedStart(config);
  if (kind === undefined) return loaded;
  await requireFolder(files, config.model, "config.json", "model folder");
  const settings = settingsOf(config);
  const beside = await markOf(files, dirname(config.model));
  if (beside && kind !== "loftq" && config.model === files.join(dirname(config.model), "model")) {
    if (JSON.stringify(beside.settings) === JSON.stringify(settings))
      return ready(files, loaded, dirname(config.model), beside);
    throw configError(
      {
        code: "CONFIG_CONFLICT",
        key: ["tune", "init_lora_weights"],
        message: `is ${kind}, and ${config.model} is already what another start left of ${beside.model}`,
        received: JSON.stringify(settings),
        expected: JSON.stringify(beside.settings),
        fix: `set model: ${beside.model}`,
      },
      loaded.source,
    );
  }
  const folder = `${config.output}-start`;
  const mark: Mark = {
    format_version: 1,
    model: config.model,
    weights: await weightsOf(files, config.model),
    settings,
  };
  const found = await markOf(files, folder);
  if (JSON.stringify(found) !== JSON.stringify(mark)) {
    context.say(`init_lora_weights: ${kind}: computing the adapter's start from the base's weights, into ${folder}`);
    await clear(files, folder, found);
    await newFolder(folder, (at) => write(files, at, { loaded, kind, mark }));
  }
  return ready(files, loaded, folder, mark);
}

/**
 * Of a run whose base is the rest of another model: the adapter it ends with as a LoRA on that model, s·B·A − s·B₀·A₀, into
 * `adapter-plain` beside it.
 */
export async function writePlainAdapter(
  files: Files,
  { start }: LoadedConfig,
  folder: string,
  { say }: Pick<Context, "say">,
): Promise<void> {
  if (start?.original === undefined) return;
  const [adapter, out] = [files.join(folder, "adapter"), files.join(folder, "adapter-plain")];
  const [last, first] = [await readPeftAlone(files, adapter), await readPeftAlone(files, start.adapter)];
  const plain = combineAdapters([last, first], { type: "cat", weights: [1, -1] });
  await copyModelFiles(files, adapter, out);
  await copyTemplates(files, adapter, out);
  await writePeftFolder(files, out, { ...plain, baseModel: start.original });
  say(`${out}: the same as a LoRA of rank ${plain.config.r} on ${start.original}`);
}

function computedStart({ tune }: ResolvedConfig): ComputedStart | undefined {
  const asked = tune.init_lora_weights;
  if (tune.init_from !== null || (tune.method !== "lora" && tune.method !== "qlora")) return undefined;
  return asked === "pissa" || asked === "olora" || asked === "loftq" ? asked : undefined;
}

function ready(files: Files, loaded: LoadedConfig, folder: string, { model }: Mark): LoadedConfig {
  const whole = computedStart(loaded.config) === "loftq";
  const config = whole ? loaded.config : { ...loaded.config, model: files.join(folder, "model") };
  return { ...loaded, config, start: { adapter: files.join(folder, "adapter"), original: whole ? undefined : model } };
}

function settingsOf({ tune }: ResolvedConfig): Record<string, unknown> {
  const { init_lora_weights, r, alpha, use_rslora, target_modules, exclude_modules } = tune;
  const { layers_to_transform, layers_pattern, rank_pattern, alpha_pattern } = tune;
  const quant = init_lora_weights === "loftq" ? tune.quant : undefined;
  const settings = { init_lora_weights, r, alpha, use_rslora, target_modules, exclude_modules, quant };
  return JSON.parse(
    JSON.stringify({ ...settings, layers_to_transform, layers_pattern, rank_pattern, alpha_pattern }),
  ) as Record<string, unknown>;
}

async function markOf(files: Files, folder: string): Promise<Mark | undefined> {
  const path = files.join(folder, MARK);
  return (await files.exists(path)) ? (JSON.parse(await readTextFile(path)) as Mark) : undefined;
}

/** Only a folder that was made here is made anew. */
async function clear(files: Files, folder: string, mark: Mark | undefined): Promise<void> {
  const names = await files.list(folder).catch(() => [] as string[]);
  if (names.length > 0 && mark === undefined)
    throw new CliError("OUTPUT_NOT_A_RUN", `${folder} is where the adapter's start goes, and it holds other files`, {
      path: folder,
      received: names.slice(0, 5).join(", "),
      expected: `an empty folder or one with ${MARK}`,
      fix: "choose another `output`, or move that folder away",
    });
  await rm(folder, { recursive: true, force: true });
}

async function write(
  files: Files,
  folder: string,
  { loaded, kind, mark }: { loaded: LoadedConfig; kind: ComputedStart; mark: Mark },
): Promise<void> {
  const { model } = mark;
  const modelConfig = await readModelConfig(files, model);
  const sizes = linearPaths(modelConfig);
  const asked: LoraConfig = loraConfigOf(loaded.config);
  const targets = resolveTargets(asked, sizes.keys());
  const base = await openModel(files, model);
  try {
    const quantize = kind === "loftq" ? await quantizedModules(files, loaded.config) : undefined;
    const values = await computeStart(kind, base, { config: asked, targets, sizes, quantize });
    const paths = targets.filter((path) => values.has(peftNames(path).a));
    const config = { ...asked, targetModules: paths, excludeModules: undefined, layersToTransform: undefined };
    const shapes = loraShapes(asked, paths, sizes);
    const adapter = { config, baseModel: model, targets: paths, shapes, values };
    await writePeftFolder(files, files.join(folder, "adapter"), adapter);
    if (kind !== "loftq") {
      const negative = new Map(
        [...values].map(([name, x]) => [name, name.endsWith(".lora_B.weight") ? x.map((value) => -value) : x]),
      );
      const rest = mergeAdapter(base, { ...adapter, values: negative }, { sizes });
      const out = files.join(folder, "model");
      const [embedding] = replaceableWeights(modelConfig).keys();
      await writeLikeBase(files, out, base, rest, `${embedding}.weight`);
      await copyModelFiles(files, model, out);
      await copyTemplates(files, model, out);
    }
  } finally {
    await base.close();
  }
  await files.writeAtomic(files.join(folder, MARK), [new TextEncoder().encode(`${JSON.stringify(mark, null, 2)}\n`)]);
}
