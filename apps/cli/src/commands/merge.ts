// A model folder with the adapter in its weights: what every other program loads without knowing LoRA.

import { join, resolve } from "node:path";
import type { Files } from "@tunesmith/core";
import { biasSizes, linearPaths, readModelConfig, replaceableWeights } from "@tunesmith/models";
import { mergeAdapter, type MergeDtype, mergeIntoFourBit, readPeft, type RoundingDamage } from "@tunesmith/lora";
import { nodeFiles } from "@tunesmith/node";
import { openModel } from "@tunesmith/safetensors";
import type { Context, Outcome } from "../context.ts";
import { CliError } from "../errors.ts";
import type { Options } from "../flags.ts";
import { writeLikeBase } from "../merged-weights.ts";
import { copyModelFiles, copyTemplates, editConfig, setDtype } from "../model-files.ts";
import { checkFree, newFolder } from "../new-folder.ts";
import { requireFolder } from "../tuned-model.ts";

const DTYPES: Readonly<Record<string, MergeDtype>> = { f32: "F32", f16: "F16", bf16: "BF16" };
/** What config.json calls them. */
const TORCH_DTYPES = { F32: "float32", F16: "float16", BF16: "bfloat16" } as const satisfies Record<MergeDtype, string>;

export async function run(
  _: readonly string[],
  options: Options<"model" | "adapter" | "out" | "dtype" | "requantize">,
  context: Context,
): Promise<Outcome> {
  const at = (path: string): string => resolve(context.cwd, path);
  const [model, adapter, out] = [at(options.model!), at(options.adapter!), at(options.out!)];
  const dtype = dtypeOf(options.dtype);
  const files = nodeFiles();
  await requireFolder(files, model, "config.json", "model folder");
  await requireFolder(files, adapter, "adapter_config.json", "adapter folder");
  await checkFree(out);
  const config = await readModelConfig(files, model);
  const sizes = linearPaths(config);
  const replaceable = replaceableWeights(config);
  const peft = await readPeft(files, adapter, sizes, replaceable, { tied: config.tiedHead, biases: biasSizes(config) });
  const [embedding, head] = [...replaceable.keys()] as [string, string];
  const base = await openModel(files, model);
  try {
    const tied = config.tiedHead ? { embedding, head } : undefined;
    const untied = config.tiedHead && (peft.config.modulesToSave?.length ?? 0) > 0;
    const modules = peft.targets.length;
    if (options.requantize) {
      const { tensors, ...damage } = await newFolder(out, async (folder) => {
        const written = await mergeIntoFourBit(files, join(folder, "model.safetensors"), base, peft, {
          sizes,
          tied,
          where: model,
        });
        await copyRest(files, model, adapter, folder, { dtype, untied });
        return written;
      });
      return {
        document: { out, modules, tensors, dtype: "as stored", damage: damageDocument(damage) },
        text: `${modules} modules merged into ${out} and rounded to four bits again\n${damageText(damage.total)}`,
      };
    }
    const merged = mergeAdapter(base, peft, { sizes, dtype, tied });
    await newFolder(out, async (folder) => {
      // an untied head is written beside the embedding it was
      await writeLikeBase(files, folder, base, merged, `${embedding}.weight`);
      await copyRest(files, model, adapter, folder, { dtype, untied });
    });
    return {
      document: { out, modules, tensors: merged.size, dtype: options.dtype ?? "as stored" },
      text: `${modules} modules merged into ${out}; \`tunesmith verify\` measures what rounding changed`,
    };
  } finally {
    await base.close();
  }
}

interface Damage {
  readonly total: RoundingDamage;
  readonly modules: ReadonlyMap<string, RoundingDamage>;
}

function damageDocument({ total, modules }: Damage): object {
  const figures = ({ relativeError, errorOverUpdate, maxError }: RoundingDamage): object => ({
    relative_error: relativeError,
    error_over_update: errorOverUpdate,
    max_error: maxError,
  });
  return { ...figures(total), modules: [...modules].map(([path, damage]) => ({ path, ...figures(damage) })) };
}

function damageText({ relativeError, errorOverUpdate, maxError }: RoundingDamage): string {
  return `that moved the weights by ${(100 * relativeError).toPrecision(3)} % of their length, ${errorOverUpdate.toPrecision(3)} times as far as the adapter did, each by at most ${maxError.toPrecision(3)}; \`tunesmith verify\` measures what it does to the logits`;
}

function dtypeOf(name: string | undefined): MergeDtype | undefined {
  if (name === undefined || Object.hasOwn(DTYPES, name)) return name === undefined ? undefined : DTYPES[name];
  throw new CliError("FLAG_INVALID", `--dtype takes f32, f16 or bf16, received ${name}`, {
    received: name,
    expected: "f32 | f16 | bf16",
    fix: "correct --dtype, or leave it out to keep the base's",
  });
}

/** Config, tokenizer and template: the model's, but for the template the adapter was trained with. */
async function copyRest(
  files: Files,
  model: string,
  adapter: string,
  folder: string,
  { dtype, untied }: { dtype: MergeDtype | undefined; untied: boolean },
): Promise<void> {
  await copyModelFiles(files, model, folder);
  if (!(await copyTemplates(files, adapter, folder))) await copyTemplates(files, model, folder);
  if (dtype === undefined && !untied) return;
  await editConfig(files, folder, (config) => {
    if (dtype) setDtype(config, TORCH_DTYPES[dtype]);
    if (untied) config["tie_word_embeddings"] = false;
  });
}
