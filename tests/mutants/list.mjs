// Faults that have been made in this field, each as one replacement in our sources, with the tests that must see it.
import autograd from "./faults/autograd.mjs";
import cli from "./faults/cli.mjs";
import data from "./faults/data.mjs";
import lora from "./faults/lora.mjs";
import models from "./faults/models.mjs";
import node from "./faults/node.mjs";
import optim from "./faults/optim.mjs";
import sft from "./faults/sft.mjs";
import tensor from "./faults/tensor.mjs";
import tensorAttention from "./faults/tensor-attention.mjs";
import tensorKernels from "./faults/tensor-kernels.mjs";
import tensorMatmul from "./faults/tensor-matmul.mjs";

/**
 * @typedef {object} Mutant
 * @property {string} name
 * @property {string} file
 * @property {string} find occurs exactly once in the file
 * @property {string} replace
 * @property {readonly string[]} tests vitest filters
 */

/** @type {readonly Mutant[]} */
export const mutants = [
  ...autograd,
  ...cli,
  ...data,
  ...lora,
  ...models,
  ...node,
  ...optim,
  ...sft,
  ...tensor,
  ...tensorAttention,
  ...tensorKernels,
  ...tensorMatmul,
];
