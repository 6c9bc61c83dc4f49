// Every flag once: its type, range and help. Parsing, help texts and the test against docs/cli.md all read this table.

interface FlagSpec {
  readonly type: "boolean" | "string" | "strings" | "integer" | "number";
  /** stands for the value in help texts */
  readonly value?: string;
  readonly help: string;
  /** numbers: smallest and largest value allowed */
  readonly min?: number;
  readonly max?: number;
  /** numbers: the value must be greater than this */
  readonly above?: number;
}

export const FLAGS = {
  json: { type: "boolean", help: "print exactly one JSON document on stdout" },
  device: { type: "string", value: "NAME", help: "use the GPU whose name contains NAME" },
  "debug-gpu": { type: "boolean", help: "validate every GPU call and name the first tensor with a NaN; slow" },
  help: { type: "boolean", help: "print this text" },
  version: { type: "boolean", help: "print the version" },

  set: { type: "strings", value: "a.b=c", help: "override a config key; the value is read as YAML; may be repeated" },
  profile: {
    type: "boolean",
    help: "time every kernel by the GPU's clock; writes profile.json and trace.json into the run folder",
  },
  resume: { type: "boolean", help: "go on from the newest sound checkpoint of the run folder" },
  overwrite: { type: "boolean", help: "delete what the run folder holds and start anew" },
  "memory-budget": {
    type: "string",
    value: "8GiB",
    help: "memory that the run may take; the same as --set train.memory_budget",
  },
  base: { type: "boolean", help: "score the base model without the adapter" },

  model: { type: "string", value: "DIR", help: "Hugging Face model folder" },
  adapter: { type: "string", value: "DIR", help: "PEFT adapter folder" },
  data: { type: "string", value: "FILE", help: "file of rows: .jsonl .json .csv .tsv .parquet .txt, also .gz" },
  format: { type: "string", value: "F", help: "format of the rows; default: auto, from the keys of the first row" },
  "chat-template": {
    type: "string",
    value: "T",
    help: "template file or built-in name; default: the adapter's, else the model's own",
  },
  "train-on": {
    type: "string",
    value: "M",
    help: "what is scored: assistant | last | completion | all; default assistant",
  },
  "max-length": {
    type: "integer",
    value: "N",
    min: 2,
    help: "longest row in tokens; default: min(1024, the model's positions)",
  },

  prompt: { type: "string", value: "TEXT", help: "continue this text as it is, without a template" },
  messages: {
    type: "string",
    value: "FILE",
    help: "JSON file with a conversation: a list of messages, or {messages, tools?}",
  },
  out: {
    type: "string",
    value: "FILE",
    help: "what to write: a file with one JSON line per row, or the folder of quantize",
  },
  n: { type: "integer", value: "K", min: 1, help: "samples per row; default 1" },
  "max-new-tokens": { type: "integer", value: "N", min: 1, help: "stop after this many tokens; default 256" },
  temperature: { type: "number", value: "T", min: 0, help: "0 = greedy; default 0" },
  "top-k": { type: "integer", value: "K", min: 1, help: "keep the K likeliest tokens" },
  "top-p": { type: "number", value: "P", above: 0, max: 1, help: "keep the likeliest tokens that sum to P" },
  "repetition-penalty": {
    type: "number",
    value: "R",
    above: 0,
    help: "divide the score of tokens already seen; 1 = off",
  },
  seed: {
    type: "integer",
    value: "S",
    min: 0,
    help: "seed of the sampling, of random prompts or of DARE (default 0), or of the demo's data (default 1)",
  },

  merged: { type: "string", value: "DIR", help: "model folder that `merge` wrote" },
  prompts: { type: "integer", value: "N", min: 1, help: "prompts of random tokens to compare on; default 16" },
  dtype: {
    type: "string",
    value: "T",
    help: "dtype of the weights written: f32, f16 or bf16; default: each as stored",
  },
  requantize: {
    type: "boolean",
    help: "merge into a base in four bits, rounding to the same blocks and codes again; says what that costs",
  },
  weights: { type: "string", value: "W,W...", help: "one weight per adapter, may be negative; default 1 each" },
  type: {
    type: "string",
    value: "T",
    help: "of quantize: nf4 (default) | fp4; of adapter merge: cat (exact; default) | svd | linear | magnitude_prune | ties | dare_linear | dare_ties, as in PEFT",
  },
  rank: { type: "integer", value: "N", min: 1, help: "rank of the new adapter" },
  density: { type: "number", value: "D", above: 0, max: 1, help: "share of entries that thinning types keep" },

  shuffled: { type: "boolean", help: "control: train on answers shuffled among the prompts" },

  shard: {
    type: "string",
    value: "I/N",
    help: "do part I of N, counted from 1; the parts may run anywhere, in any order",
  },

  "double-quant": { type: "boolean", help: "store the scales of blocks in eight bits" },
  "block-size": {
    type: "integer",
    value: "N",
    min: 32,
    max: 4096,
    help: "elements that share a scale, a power of two; default 64",
  },

  "self-check": {
    type: "boolean",
    help: "first compute the first step in ways that must agree: packed or not, cut or whole, recomputed or stored, replayed or eager",
  },
  rows: { type: "integer", value: "N", min: 0, help: "samples to show; default 3" },
  from: { type: "number", value: "R", above: 0, help: "lowest rate of the test; default 1e-6" },
  to: { type: "number", value: "R", above: 0, help: "highest rate of the test; default 1" },
  steps: { type: "integer", value: "N", min: 10, help: "updates of the test; default 100" },
  html: { type: "string", value: "FILE", help: "also write what is shown as one HTML page" },
  batch: { type: "string", value: "FILE.jsonl", help: "render one conversation per line" },
  "add-generation-prompt": { type: "boolean", help: "end with the header of the assistant's turn" },
} as const satisfies Readonly<Record<string, FlagSpec>>;

export type FlagName = keyof typeof FLAGS;

type Camel<S extends string> = S extends `${infer A}-${infer B}` ? `${A}${Capitalize<Camel<B>>}` : S;
type Value<F extends FlagName> = (typeof FLAGS)[F]["type"] extends "boolean"
  ? boolean
  : (typeof FLAGS)[F]["type"] extends "strings"
    ? readonly string[]
    : ((typeof FLAGS)[F]["type"] extends "string" ? string : number) | undefined;

/** The values of some flags, under camel-case names: `--max-new-tokens 5` is `maxNewTokens: 5`. */
export type Options<F extends FlagName = FlagName> = { readonly [Name in F as Camel<Name>]: Value<Name> };

/** Flags that every command takes. */
export const COMMON_FLAGS: readonly ("json" | "device" | "debug-gpu" | "help")[] = [
  "json",
  "device",
  "debug-gpu",
  "help",
];

export function flagSpec(name: FlagName): FlagSpec {
  return FLAGS[name];
}

export function camelCase(name: string): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
