import type { Architecture } from "../architecture.ts";
import { gemma } from "./gemma.ts";
import { gemma2 } from "./gemma2.ts";
import { gemma3 } from "./gemma3.ts";
import { gpt2 } from "./gpt2.ts";
import { gptNeox } from "./gpt-neox.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";
import { smollm3 } from "./smollm3.ts";

/** `model_type` of everything that loads. */
export const ARCHITECTURES = [
  "gemma",
  "gemma2",
  "gemma3_text",
  "gpt2",
  "gpt_neox",
  "llama",
  "mistral",
  "phi3",
  "qwen2",
  "qwen3",
  "smollm3",
] as const;
export type ArchitectureName = (typeof ARCHITECTURES)[number];

const ALL: Readonly<Record<ArchitectureName, Architecture>> = {
  gemma,
  gemma2,
  gemma3_text: gemma3,
  gpt2,
  gpt_neox: gptNeox,
  llama,
  mistral,
  phi3,
  qwen2,
  qwen3,
  smollm3,
};

export function architectureOf(name: string): Architecture | undefined {
  return Object.hasOwn(ALL, name) ? ALL[name as ArchitectureName] : undefined;
}
