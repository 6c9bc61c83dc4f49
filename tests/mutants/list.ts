// Faults that have been made in this field, each as one replacement in our sources, with the tests that must see it.
export interface Mutant {
  readonly name: string;
  readonly file: string;
  /** occurs exactly once in the file */
  readonly find: string;
  readonly replace: string;
  /** vitest filters */
  readonly tests: readonly string[];
}

export const mutants: readonly Mutant[] = [
  {
    name: "RMSNorm ignores eps",
    file: "packages/tensor/src/kernels/rms-norm.ts",
    find: "/ f32(p.dim) + p.eps)",
    replace: "/ f32(p.dim))",
    tests: ["packages/autograd/src/ops/rms-norm.test.ts"],
  },
  {
    name: "RMSNorm backward forgets the mean term",
    file: "packages/tensor/src/kernels/rms-norm.ts",
    find: "- x[start + i] * mean)",
    replace: ")",
    tests: ["packages/autograd/src/ops/rms-norm.test.ts"],
  },
  {
    name: "the planner frees a buffer one launch too early",
    file: "packages/tensor/src/plan.ts",
    find: "t.last < life.first",
    replace: "t.last <= life.first",
    tests: ["packages/tensor/src/program.test.ts"],
  },
  {
    name: "the planner drops a launch that only updates a state",
    file: "packages/tensor/src/plan.ts",
    find: "t.storage.persistent || needed.has(t.storage)",
    replace: "needed.has(t.storage)",
    tests: ["packages/tensor/src/program.test.ts"],
  },
  {
    name: "AdamW forgets to clip",
    file: "packages/tensor/src/kernels/adamw.ts",
    find: "gradients[at] * clip[1]",
    replace: "gradients[at]",
    tests: ["packages/optim/src/adamw.test.ts"],
  },
  {
    name: "AdamW decays what asked for none",
    file: "packages/tensor/src/kernels/adamw.ts",
    find: "p.decayed != 0u",
    replace: "true",
    tests: ["packages/optim/src/adamw.test.ts"],
  },
  {
    name: "a halted update runs",
    file: "packages/tensor/src/kernels/adamw.ts",
    find: "if (clip[2] != 0.0) { return; }",
    replace: "",
    tests: ["packages/optim/src/adamw.test.ts"],
  },
  {
    name: "gradients are not zeroed after an update",
    file: "packages/tensor/src/kernels/adamw.ts",
    find: "gradients[at] = vec4f(0.0);",
    replace: "",
    tests: ["packages/optim/src/adamw.test.ts"],
  },
  {
    name: "warm-up starts at 1 instead of 0",
    file: "packages/optim/src/schedule.ts",
    find: "const rise = step /",
    replace: "const rise = (step + 1) /",
    tests: ["packages/optim/src/schedule.test.ts"],
  },
  {
    name: "cross-entropy ignores target weights",
    file: "packages/tensor/src/kernels/cross-entropy.ts",
    find: "weight = weights[token] * dloss[0]",
    replace: "weight = dloss[0]",
    tests: ["packages/autograd/src/ops/linear-cross-entropy.test.ts"],
  },
  {
    name: "cross-entropy ignores the loss's own gradient",
    file: "packages/tensor/src/kernels/cross-entropy.ts",
    find: "weights[token] * dloss[0]",
    replace: "weights[token]",
    tests: ["packages/autograd/src/ops/linear-cross-entropy.test.ts"],
  },
  {
    name: "an embedding gradient counts a repeated token once",
    file: "packages/tensor/src/kernels/rows.ts",
    find: "if (ids[token] != id) { break; }",
    replace: "if (j > group) { break; }",
    tests: ["packages/autograd/src/ops/embedding.test.ts"],
  },
  {
    name: "the dropout mask ignores the example",
    file: "packages/tensor/src/kernels/dropout.ts",
    find: "position * fours + four, example,",
    replace: "position * fours + four, 0u,",
    tests: ["packages/autograd/src/ops/dropout.test.ts"],
  },
  {
    name: "labels are not shifted",
    file: "packages/data/src/tokenize/example.ts",
    find: "targets[t] = inputIds[t + 1]!;",
    replace: "targets[t] = inputIds[t]!;",
    tests: ["packages/data/src/tokenize"],
  },
  {
    name: "a token over the border is not trained",
    file: "packages/data/src/tokenize/label-weights.ts",
    find: "sorted[s]!.start < Math.max(end, start + 1)",
    replace: "sorted[s]!.start <= start",
    tests: ["packages/data/src/tokenize"],
  },
  {
    name: "an appended EOS is not trained",
    file: "packages/data/src/tokenize/tokenize-row.ts",
    find: "appendF32(weights, 1)",
    replace: "appendF32(weights, 0)",
    tests: ["packages/data/src/tokenize"],
  },
  {
    name: "tokens cut away are not counted",
    file: "packages/data/src/tokenize/fit.ts",
    find: "lostTokens: tokens - maxLength",
    replace: "lostTokens: 0",
    tests: ["packages/data/src/tokenize"],
  },
  {
    name: "offsets count code points",
    file: "packages/node/src/tokenizer.ts",
    find: "units === undefined ? point : units[point]!",
    replace: "point",
    tests: ["packages/node/src/tokenizer.test.ts"],
  },
  {
    name: "lstrip ignores its argument",
    file: "packages/data/src/chat-template/python-values.ts",
    find: "(chars === undefined ? PYTHON_SPACE",
    replace: "(true ? PYTHON_SPACE",
    tests: ["packages/data/src/chat-template/python-interpreter.test.ts"],
  },
  {
    name: "padding is a target",
    file: "packages/data/src/batch/batch.ts",
    find: "new Int32Array(length).fill(IGNORED)",
    replace: "new Int32Array(length)",
    tests: ["packages/data/src/batch"],
  },
  {
    name: "a task's mean is taken over all tasks",
    file: "packages/data/src/batch/target-scale.ts",
    find: "lossWeights[k]! / weight",
    replace: "lossWeights[k]! / total",
    tests: ["packages/data/src/batch"],
  },
  {
    name: "every epoch has the same order",
    file: "packages/data/src/mixture/draws.ts",
    find: "index: epoch })",
    replace: "index: 0 })",
    tests: ["packages/data/src/mixture"],
  },
  {
    name: "a weighted task repeats its first permutation",
    file: "packages/data/src/mixture/draws.ts",
    find: "const index = Math.floor(ordinal / examples.length);",
    replace: "const index = 0;",
    tests: ["packages/data/src/mixture"],
  },
  {
    name: "the split takes the first rows",
    file: "packages/data/src/dataset/split.ts",
    find: 'rows[permute(i, rows.length, { seed: options.seed, site: siteId(task, "split"), index: 0 })]!',
    replace: "rows[i]!",
    tests: ["packages/data/src/dataset"],
  },
  {
    name: "a replay makes its bind groups anew",
    file: "packages/tensor/src/program.ts",
    find: "if (this.#prepared?.version === workspace.version) return this.#prepared;",
    replace: "",
    tests: ["tests/peers.test.ts"],
  },
  {
    name: "a disposed program keeps its staging buffers",
    file: "packages/tensor/src/program.ts",
    find: 'for (const buffer of this.#staging.splice(0)) this.#device.destroyBuffer(buffer, "staging");',
    replace: "",
    tests: ["tests/peers.test.ts"],
  },
  {
    name: "the derivative of GELU leaves out its cubic term",
    file: "packages/tensor/src/kernels/gelu.ts",
    find: "(1.0 + 3.0 * ${CUBIC} * v * v)",
    replace: "1.0",
    tests: ["tests/peers.test.ts"],
  },
];
