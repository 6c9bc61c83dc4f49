// Every command once. Help texts, parsing and the test against docs/cli.md read this table; the code behind a command
// is loaded only when it runs, so that `--help` and `render` never touch a GPU driver.

import type { Context, Outcome } from "./context.ts";
import type { FlagName, Options } from "./flags.ts";

/** The code behind a command. */
export type Run<F extends FlagName = FlagName> = (
  positionals: readonly string[],
  options: Options<F>,
  context: Context,
) => Promise<Outcome>;

export interface Command<F extends FlagName = FlagName> {
  readonly summary: string;
  /** how the words after the command are written, one line per form */
  readonly usage: readonly string[];
  readonly positionals: { readonly label: string; readonly min: number; readonly max: number };
  readonly flags: readonly F[];
  /** of each group at least one flag must be given, unless a positional is */
  readonly required: readonly (readonly F[])[];
  /** of each group at most one flag may be given */
  readonly exclusive: readonly (readonly F[])[];
  /** lets the first signal finish what is running (an optimizer step, a save); else the command is left at once */
  readonly finishesOnSignal: boolean;
  load(): Promise<{ readonly run: Run<F> }>;
}

function command<F extends FlagName>(
  c: Partial<Command<F>> & Pick<Command<F>, "summary" | "usage" | "flags" | "load">,
): Command<F> {
  return {
    positionals: { label: "nothing", min: 0, max: 0 },
    required: [],
    exclusive: [],
    finishesOnSignal: false,
    ...c,
  };
}

export const COMMANDS = {
  train: command({
    summary: "trains an adapter, or weights of the model, as a config says",
    usage: ["CONFIG.yaml [--set a.b=c ...] [--memory-budget 8GiB] [--resume | --overwrite] [--profile] [--self-check]"],
    positionals: { label: "CONFIG.yaml", min: 1, max: 1 },
    flags: ["set", "memory-budget", "resume", "overwrite", "profile", "self-check"],
    exclusive: [["resume", "overwrite"]],
    finishesOnSignal: true,
    load: () => import("./commands/train.ts"),
  }),
  eval: command({
    summary: "loss, perplexity and token accuracy of a run's eval rows or of a file",
    usage: [
      "CONFIG.yaml [--set a.b=c ...] [--base]",
      "--model DIR [--adapter DIR] --data FILE [--format F] [--chat-template T] [--train-on M] [--max-length N]",
    ],
    positionals: { label: "CONFIG.yaml", min: 0, max: 1 },
    flags: ["set", "base", "model", "adapter", "data", "format", "chat-template", "train-on", "max-length"],
    required: [["model"], ["data"]],
    load: () => import("./commands/eval.ts"),
  }),
  generate: command({
    summary: "continues a prompt, a conversation, or every row of a file",
    usage: [
      "--model DIR [--adapter DIR] (--prompt TEXT | --messages FILE | --data FILE --out FILE [--n K]) [--max-new-tokens N]\n      [--temperature T] [--top-k K] [--top-p P] [--repetition-penalty R] [--seed S] [--chat-template T]",
    ],
    flags: [
      "model",
      "adapter",
      "prompt",
      "messages",
      "data",
      "out",
      "n",
      "max-new-tokens",
      "temperature",
      "top-k",
      "top-p",
      "repetition-penalty",
      "seed",
      "chat-template",
    ],
    required: [["model"], ["prompt", "messages", "data"]],
    exclusive: [["prompt", "messages", "data"]],
    load: () => import("./commands/generate.ts"),
  }),
  logprobs: command({
    summary: "log-probability of every token of every row, as JSON lines",
    usage: ["--model DIR [--adapter DIR] --data FILE [--format F] --out FILE.jsonl"],
    flags: ["model", "adapter", "data", "format", "out"],
    required: [["model"], ["data"], ["out"]],
    load: () => import("./commands/logprobs.ts"),
  }),
  inspect: command({
    summary: "what training will see: rows coloured by mask, what is trained and lost, steps",
    usage: ["CONFIG.yaml [--set a.b=c ...] [--rows N] [--html FILE]"],
    positionals: { label: "CONFIG.yaml", min: 1, max: 1 },
    flags: ["set", "rows", "html"],
    load: () => import("./commands/inspect.ts"),
  }),
  plan: command({
    summary: "exact bytes by category, parameter counts, steps, time from a measured micro-step",
    usage: ["CONFIG.yaml [--set a.b=c ...] [--memory-budget 8GiB]"],
    positionals: { label: "CONFIG.yaml", min: 1, max: 1 },
    flags: ["set", "memory-budget"],
    load: () => import("./commands/plan.ts"),
  }),
  "lr-find": command({
    summary: "suggests a learning rate: a short training whose rate grows, on the config's own batches",
    usage: ["CONFIG.yaml [--set a.b=c ...] [--memory-budget 8GiB] [--from R] [--to R] [--steps N] [--html FILE]"],
    positionals: { label: "CONFIG.yaml", min: 1, max: 1 },
    flags: ["set", "memory-budget", "from", "to", "steps", "html"],
    load: () => import("./commands/lr-find.ts"),
  }),
  render: command({
    summary: "conversations through a chat template, with the characters an assistant wrote",
    usage: ["--chat-template PATH (--messages FILE | --batch FILE.jsonl) [--add-generation-prompt]"],
    flags: ["chat-template", "messages", "batch", "add-generation-prompt"],
    required: [["messages", "batch"]],
    exclusive: [["messages", "batch"]],
    load: () => import("./commands/render.ts"),
  }),
  check: command({
    summary: "is this safetensors file, model folder, adapter, dataset or config sound? needs no device",
    usage: ["PATH..."],
    positionals: { label: "PATH...", min: 1, max: Infinity },
    flags: [],
    load: () => import("./commands/check.ts"),
  }),
  merge: command({
    summary: "a model folder with the adapter in its weights, formed in f32 and rounded once",
    usage: ["--model DIR --adapter DIR --out DIR [--dtype f32|f16|bf16 | --requantize]"],
    flags: ["model", "adapter", "out", "dtype", "requantize"],
    required: [["model"], ["adapter"], ["out"]],
    exclusive: [["dtype", "requantize"]],
    load: () => import("./commands/merge.ts"),
  }),
  verify: command({
    summary: "how far a merged model's logits are from those of base and adapter",
    usage: ["--model DIR --adapter DIR --merged DIR [--prompts N] [--seed S]"],
    flags: ["model", "adapter", "merged", "prompts", "seed"],
    required: [["model"], ["adapter"], ["merged"]],
    load: () => import("./commands/verify.ts"),
  }),
  adapter: command({
    summary: "compares, combines and resizes adapters; needs no device",
    usage: [
      "diff DIR DIR",
      "merge DIR... --out DIR [--weights W,W...] [--type T] [--rank N] [--density D] [--seed S]",
      "resize DIR --rank N --out DIR",
    ],
    positionals: { label: "diff, merge or resize, and adapter folders", min: 1, max: Infinity },
    flags: ["out", "weights", "type", "rank", "density", "seed"],
    load: () => import("./commands/adapter.ts"),
  }),
  data: command({
    summary: "prepare: tokenizes the rows of a config into data.cache, whole or in parts; needs no device",
    usage: ["prepare CONFIG.yaml [--set a.b=c ...] [--shard I/N]"],
    positionals: { label: "prepare CONFIG.yaml", min: 2, max: 2 },
    flags: ["set", "shard"],
    load: () => import("./commands/data.ts"),
  }),
  quantize: command({
    summary: "writes a model folder with its projections in four bits, as bitsandbytes stores them",
    usage: ["--model DIR --out DIR [--type nf4|fp4] [--double-quant] [--block-size N]"],
    flags: ["model", "out", "type", "double-quant", "block-size"],
    required: [["model"], ["out"]],
    load: () => import("./commands/quantize.ts"),
  }),
  demo: command({
    summary: "the README's main job: fine-tunes an embedded tiny model and shows what it learned",
    usage: ["[--seed S] [--shuffled]"],
    flags: ["seed", "shuffled"],
    load: () => import("./commands/demo.ts"),
  }),
  doctor: command({
    summary: "device, driver, limits, features, a matmul check, what is missing and how to get it",
    usage: [""],
    flags: [],
    load: () => import("./commands/doctor.ts"),
  }),
};

export type CommandName = keyof typeof COMMANDS;

/** Commands of the contract that this version does not have. */
export const LATER_COMMANDS: readonly string[] = ["chat"];

export function isCommandName(word: string): word is CommandName {
  return Object.hasOwn(COMMANDS, word);
}
