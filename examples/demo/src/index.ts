/**
 * The texts of the demo, each a pure function of a seed: the corpus the tiny base is trained on, the instructions
 * that tune it, the prompts that score it; and the tiny base's tokenizer and shape.
 *
 * @packageDocumentation
 */
export { ANSWER_SIGN, baseDocument, TEXT_WEIGHT } from "./base-corpus.ts";
export type { BaseDocument } from "./base-corpus.ts";
export { mostFrequentShare, sharedContent } from "./disjoint.ts";
export { heldOutSet, tuningSet } from "./instructions.ts";
export type { Instruction } from "./instructions.ts";
export { tinyConfig, tinyGenerationConfig } from "./model-config.ts";
export { withShuffledAnswers } from "./shuffled.ts";
export { DEMO_TASKS } from "./tasks.ts";
export type { DemoTask } from "./tasks.ts";
export { tinyTokenizer, tinyTokenizerConfig } from "./tokenizer.ts";
