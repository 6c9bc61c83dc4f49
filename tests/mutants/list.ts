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
];
