// The config file as one zod schema: defaults, ranges and descriptions live here, and docs/config.schema.json
// is written from it. Key names and meanings are the contract of docs/cli.md.

import { CONTAMINATION, DUPLICATES, FORMATS, NEAR_DUPLICATES, SAMPLING, THREADS } from "@tunesmith/data";
import { z } from "zod";
import { BYTES_PATTERN } from "../bytes.ts";
import { PRESETS } from "./presets.ts";

const trainOn = z.enum(["assistant", "last", "completion", "all"]);
const overlong = z.enum(["error", "drop", "truncate"]);
const format = z.enum(["auto", ...FORMATS]);
const columnText = z.string().min(1);
const maxLength = z.union([z.literal("auto"), z.int().min(2)]);
const positiveInt = z.int().min(1);
const share = z.number().gt(0);

const onBadRow = z.enum(["error", "skip"]);

/** Training rows of one kind. */
export const dataEntrySchema = z.strictObject({
  path: z
    .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
    .describe("file, folder, glob, or a list of these, relative to the config file"),
  file_format: z
    .enum(["auto", "jsonl", "json", "csv", "tsv", "parquet", "text"])
    .default("auto")
    .describe("auto: told by the file's name, after .gz"),
  rows_key: z.string().min(1).optional().describe("JSON: the key whose array holds the rows"),
  sample_by: z.enum(["document", "paragraph", "line"]).default("document").describe("text: what becomes a row"),
  format: format.default("auto").describe("auto looks at the keys of the first row"),
  map: z
    .record(z.string().min(1), z.union([columnText, z.array(columnText).min(1)]))
    .optional()
    .describe("column of the format: text with {{column}} in it, or a list of wordings of which each row draws one"),
  ignore_columns: z.array(z.string().min(1)).optional().describe("columns that are there and not used"),
  oasst: z
    .strictObject({
      threads: z.enum(THREADS).default("best").describe("best: the best-ranked thread of a tree; all: every thread"),
      lang: z.array(z.string().min(1)).min(1).optional().describe("languages to read; default all"),
    })
    .optional()
    .describe("format oasst: which threads of a tree"),
  name: z.string().min(1).optional().describe("task name; default: the file's stem"),
  sampling_weight: share.optional().describe("how often the task is drawn; set on all entries or none"),
  loss_weight: z.number().min(0).optional().describe("λ of the task in the objective"),
  max_rows: positiveInt.optional().describe("use only the first rows, over all files of the entry"),
  train_on: trainOn.optional(),
  chat_template: z.string().min(1).optional(),
  overlong: overlong.optional(),
  max_length: maxLength.optional(),
  on_bad_row: onBadRow.optional(),
});

const taskSchema = z.strictObject({
  sampling_weight: share.optional().describe("how often the task is drawn; set for all tasks or none"),
  loss_weight: z.number().min(0).optional().describe("λ of the task in the objective"),
  max_epochs: positiveInt.optional().describe("each row of the task is drawn at most this often"),
});

const weightChangeSchema = z.strictObject({
  step: z.int().min(2).describe("the first update, as logged, that these weights hold for"),
  weights: z.record(z.string(), z.number().min(0)).describe("one per task"),
});

const dataSchema = z.strictObject({
  train: z.array(dataEntrySchema).min(1),
  tasks: z.record(z.string(), taskSchema).optional().describe("for rows that carry their own `task` column"),
  sampling: z
    .enum(SAMPLING)
    .optional()
    .describe("sampling weights from the tasks' row counts, instead of sampling_weight"),
  sampling_temperature: share.optional().describe("T of sampling: temperature, where a task of n rows weighs n^(1/T)"),
  sampling_schedule: z
    .array(weightChangeSchema)
    .min(1)
    .optional()
    .describe("weights that replace the first ones from a step on"),
  duplicates: z.enum(DUPLICATES).default("report").describe("rows with the same tokens and targets"),
  near_duplicates: z
    .enum(NEAR_DUPLICATES)
    .default("none")
    .describe("rows whose runs of 5 tokens are much alike (MinHash)"),
  near_threshold: z.number().min(0.5).max(1).optional().describe("Jaccard index of near duplicates; default 0.8"),
  contamination: z.enum(CONTAMINATION).default("report").describe("training rows that contain an eval or test row"),
  eval: z.array(dataEntrySchema).min(1).optional(),
  eval_split: z.number().gt(0).lt(1).optional(),
  test: z.array(dataEntrySchema).min(1).optional(),
  test_split: z.number().gt(0).lt(1).optional(),
  chat_template: z.string().min(1).default("auto").describe("auto: the tokenizer's own | built-in name | path"),
  add_special_tokens: z
    .union([z.boolean(), z.array(z.string().min(1))])
    .default(false)
    .describe("tokens that the model gets if it lacks them; true: those of the built-in chat template"),
  train_on: trainOn.default("assistant"),
  max_length: maxLength.default("auto").describe("auto: min(1024, the model's positions)"),
  overlong: overlong.default("error"),
  on_bad_row: onBadRow.default("error").describe("skip: count them, up to gates.max_lost"),
  cache: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe("folder of tokenized rows, relative to the config file: read where they fit, else filled"),
  workers: z
    .union([z.literal("auto"), z.int().min(0).max(64)])
    .default("auto")
    .describe(
      "threads that tokenize; auto: none below 16 MiB of files or three cores, else a core less than there are, at most 8",
    ),
  append_eos: z.boolean().default(true),
  packing: z.union([z.boolean(), z.literal("bins")]).default(true),
  group_by_length: z
    .boolean()
    .default(false)
    .describe("packing false: micro-batches of similar length, for less padding"),
  shuffle: z.boolean().default(true),
});

const tuneSchema = z.strictObject({
  method: z.enum(["lora", "qlora", "full", "freeze"]).default("lora"),
  r: positiveInt.default(16),
  alpha: share.default(32),
  dropout: z.number().min(0).lt(1).default(0).describe("of the input of each A, while training"),
  target_modules: z
    .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
    .default("all-linear")
    .describe("all-linear, or names matched exactly or as a suffix at a dot, or one full regular expression"),
  exclude_modules: z
    .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
    .optional()
    .describe("left out of target_modules; matched as they are"),
  layers_to_transform: z.array(z.int().min(0)).min(1).optional().describe("only these layers, from 0"),
  layers_pattern: z
    .array(z.string().min(1))
    .min(1)
    .optional()
    .describe("what the list of layers is called, such as [h]"),
  rank_pattern: z
    .record(z.string(), positiveInt)
    .optional()
    .describe("other ranks: the first key that matches the end of a module's path, as a regular expression"),
  alpha_pattern: z.record(z.string(), share).optional().describe("other alphas, matched likewise"),
  loraplus_lr_ratio: z.number().min(1).default(1).describe("LoRA+: the rate of B is this often the rate of A"),
  bias: z
    .enum(["none", "lora_only", "all"])
    .default("none")
    .describe("biases of the targets train too, or all of the model"),
  modules_to_save: z
    .array(z.string().min(1))
    .default([])
    .describe("trained whole beside the adapter: the output head (lm_head), the embedding (embed_tokens)"),
  use_dora: z.boolean().default(false).describe("weight-decomposed: a trained magnitude per output"),
  use_rslora: z.boolean().default(false),
  init_lora_weights: z
    .union([z.enum(["default", "gaussian", "pissa", "olora", "loftq"]), z.string().regex(/^pissa_niter_\d+$/)])
    .default("default")
    .describe("A uniform in ±1/√in, or normal with deviation 1/r; or A and B computed from the base's weights"),
  init_from: z.string().min(1).nullable().default(null).describe("a PEFT folder to continue from"),
  quant: z
    .strictObject({
      type: z.enum(["nf4", "fp4"]).default("nf4"),
      double_quant: z.boolean().default(true).describe("store the scales of blocks in eight bits"),
      block_size: z
        .literal([32, 64, 128, 256, 512, 1024, 2048, 4096])
        .default(64)
        .describe("elements that share a scale"),
      skip_modules: z
        .array(z.string().min(1))
        .default([])
        .describe(
          "projections that stay as they are stored, matched like target_modules; embedding and head always do",
        ),
    })
    .prefault({})
    .describe("method qlora: how the base is stored"),
  train_new_tokens: z
    .union([z.boolean(), z.array(z.string().min(1)).min(1)])
    .default(false)
    .describe(
      "train the rows of the tokens that add_special_tokens made, or of these tokens, and no others of embedding and head",
    ),
  unfreeze: z.array(z.string().min(1)).default([]).describe("method freeze: what trains"),
});

const trainSchema = z.strictObject({
  epochs: share.optional().describe("default 3, unless max_steps is written"),
  max_steps: positiveInt.optional(),
  batch_size: positiveInt.default(8).describe("examples per micro-batch"),
  grad_accumulation: positiveInt.default(1),
  objective: z.enum(["auto", "token_mean", "task_mean"]).default("auto"),
  learning_rate: share.optional().describe("default 2e-4 for lora and qlora, 2e-5 for full and freeze"),
  schedule: z
    .enum(["constant", "linear", "cosine", "cosine-with-min", "cosine-restarts", "wsd", "polynomial"])
    .default("cosine"),
  min_lr_ratio: z
    .number()
    .min(0)
    .lt(1)
    .optional()
    .describe("share of the rate that cosine-with-min, wsd and polynomial end at"),
  lr_cycles: positiveInt.optional().describe("of cosine-restarts"),
  lr_decay_ratio: z.number().gt(0).max(1).default(0.1).describe("wsd: share of the steps during which the rate falls"),
  lr_decay: z.enum(["linear", "cosine", "1-sqrt"]).default("linear").describe("wsd: shape of the fall"),
  lr_power: share.default(1).describe("of polynomial"),
  warmup_ratio: z.number().min(0).max(1).optional().describe("default 0.03, unless warmup_steps is written"),
  warmup_steps: z.int().min(0).optional(),
  optimizer: z.enum(["adamw", "adamw8bit", "sgd", "lion", "adafactor"]).default("adamw"),
  betas: z
    .tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)])
    .optional()
    .describe("default [0.9, 0.999] for adamw and adamw8bit, [0.9, 0.99] for lion"),
  eps: share.default(1e-8).describe("adamw and adamw8bit"),
  momentum: z.number().min(0).lt(1).default(0.9).describe("sgd only"),
  nesterov: z.boolean().default(false).describe("sgd only"),
  weight_decay: z.number().min(0).default(0),
  max_grad_norm: share.nullable().default(1).describe("null: no clipping"),
  label_smoothing: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe("ε: targets are (1 - ε) · onehot + ε / vocabulary, in training only"),
  z_loss: z.number().min(0).default(0).describe("adds z · logsumexp² to each target's loss, in training only"),
  neftune: z
    .number()
    .min(0)
    .default(0)
    .describe("alpha of NEFTune: noise on the embedding, uniform in ± alpha / √(tokens · dim), in training only"),
  recompute: z.enum(["auto", "none", "layer"]).default("auto").describe("activation checkpointing"),
  memory_budget: z
    .union([z.literal("auto"), z.string().regex(BYTES_PATTERN), positiveInt])
    .default("auto")
    .describe("bytes, or an amount such as 8GiB; auto: the host's free memory on a software device, else no limit"),
  micro_batch_size: z
    .union([z.literal("auto"), positiveInt])
    .default("auto")
    .describe(
      "cuts batch_size into smaller micro-batches of one step; auto: batch_size, less where memory asks for it",
    ),
  cross_entropy_rows: z
    .union([z.literal("auto"), z.int().min(64).multipleOf(64)])
    .default("auto")
    .describe("positions whose logits exist together"),
});

const nats = z.number().gt(0).nullable();

const probeSchema = z.strictObject({
  sets: z.array(dataEntrySchema).min(1).optional().describe("rows that must not be forgotten: entries as in data.eval"),
  pairs: z
    .array(
      z.strictObject({
        path: dataEntrySchema.shape.path,
        name: z.string().min(1).optional().describe("name of the set; default: the file's stem"),
      }),
    )
    .min(1)
    .optional()
    .describe("files of counterfactual pairs {prompt?, a, b, task?}"),
  warn: nats.default(0.1).describe("rise of a set's loss that is warned of; null: none"),
  stop: nats.default(null).describe("rise of a set's loss that ends the run"),
  gap_warn: nats.default(0.5).describe("rise of |gap| of a set of pairs that is warned of"),
  gap_stop: nats.default(null).describe("rise of |gap| of a set of pairs that ends the run"),
});

/** The whole config file. Unknown keys are errors. */
export const configSchema = z.strictObject({
  format_version: z.literal(1).optional().describe("of this file; written into config.resolved.yaml"),
  model: z.string().min(1).describe("Hugging Face model folder, relative to the config file"),
  output: z.string().min(1).describe("run folder, relative to the config file"),
  seed: z.int().min(0).default(0),
  preset: z.enum(PRESETS).optional().describe("the field's defaults for keys that are not written"),
  data: dataSchema,
  tune: tuneSchema.prefault({}),
  train: trainSchema.prefault({}),
  eval: z.strictObject({ every: positiveInt.default(50), patience: positiveInt.nullable().default(null) }).prefault({}),
  probe: probeSchema
    .optional()
    .describe("what must not be lost: scored at step 0, every eval.every updates, at the end"),
  sample: z
    .strictObject({
      path: z.string().min(1).describe("a file of rows: their prompts are continued, answers are left out"),
      every: positiveInt.optional().describe("at step 0, after every so many updates (default 100), and at the end"),
      steps: z.array(z.int().min(0)).min(1).optional().describe("after these updates instead, and at the end"),
      max_new_tokens: positiveInt.default(64),
      temperature: z.number().min(0).default(0).describe("0: the most likely token"),
    })
    .optional()
    .describe("continuations of a few prompts while the run learns"),
  keep: z
    .enum(["last", "best"])
    .default("last")
    .describe("the state that is handed over; best: of the lowest eval loss"),
  regularize: z
    .strictObject({
      l2_to_start: z.number().min(0).default(0).describe("adds l2_to_start / 2 · ‖x − start‖² over all that trains"),
      kl_to_base: z
        .number()
        .min(0)
        .default(0)
        .describe("adds kl_to_base · mean over the replayed targets of KL(base ‖ tuned model)"),
      replay: z
        .array(dataEntrySchema)
        .min(1)
        .optional()
        .describe("rows on which the model is to stay as the base: entries as in data.eval"),
      replay_batch_size: positiveInt.optional().describe("replayed rows per update; default 4"),
    })
    .prefault({}),
  logging: z
    .strictObject({
      tensorboard: z.boolean().default(true).describe("TensorBoard's event file beside metrics.jsonl"),
    })
    .prefault({}),
  checkpoint: z
    .strictObject({
      every: positiveInt.default(100).describe("updates from one to the next"),
      keep: positiveInt.default(3).describe("the newest ones; best adapters they know of are kept beside them"),
    })
    .prefault({}),
  gates: z
    .strictObject({
      max_lost: z
        .number()
        .min(0)
        .max(1)
        .default(0.05)
        .describe("share of rows or of tokens that overlong: drop and truncate and on_bad_row: skip may lose"),
    })
    .prefault({}),
});

export type Config = z.output<typeof configSchema>;

/** A section of a stage: checked once it is laid over that of the file. */
const section = z.record(z.string(), z.unknown()).optional();

/** One of `stages`. */
export const stageSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_-]*$/)
    .describe("also its folder in `output`"),
  adapter: z
    .enum(["continue", "merge"])
    .optional()
    .describe("an adapter of the stage before: train it on, or merge it into the base; default: continue where it can"),
  optimizer_state: z.enum(["new", "keep"]).default("new").describe("keep: moments of the stage before go on"),
  data: section,
  tune: section,
  train: section,
  regularize: section,
  eval: section,
  logging: section,
  checkpoint: section,
  gates: section,
  probe: section,
  sample: section,
  preset: configSchema.shape.preset,
  keep: configSchema.shape.keep.unwrap().optional().describe("which state the next stage starts from"),
});

interface JsonSchema {
  readonly properties: Readonly<Record<string, object>>;
  readonly required: readonly string[];
}

/**
 * The JSON Schema of the file as a person writes it (defaults not yet filled in). Where there are stages, `data` and
 * `data.train` may be theirs alone.
 */
export function configJsonSchema(): unknown {
  const schemaOf = (schema: z.ZodType): JsonSchema =>
    z.toJSONSchema(schema, { io: "input", target: "draft-2020-12" }) as unknown as JsonSchema;
  const { $schema: _, ...stage } = schemaOf(stageSchema) as JsonSchema & { readonly $schema: string };
  const file = schemaOf(configSchema);
  const sections = Object.keys(stage.properties).filter((key) => key in file.properties);
  const { required: __, ...data } = file.properties["data"] as { required: unknown };
  return {
    ...file,
    properties: {
      ...file.properties,
      data,
      stages: {
        description: "runs one after the other: each the file's sections with its own laid over them",
        type: "array",
        minItems: 1,
        items: {
          ...stage,
          properties: {
            ...stage.properties,
            ...Object.fromEntries(sections.map((key) => [key, { $ref: `#/properties/${key}` }])),
          },
        },
      },
    },
    required: file.required.filter((key) => key !== "data"),
    anyOf: [{ required: ["data"] }, { required: ["stages"] }],
  };
}
