/** @type {readonly import("../list.mjs").Mutant[]} */
export default [
  {
    name: "the start of a run is taken for zeros",
    file: "packages/optim/src/store.ts",
    find: "params: { n: out.size, factor: 1 }",
    replace: "params: { n: out.size, factor: 0 }",
    tests: ["packages/optim/src/start-penalty.test.ts"],
  },
  {
    name: "every row slice has adafactor's first rows",
    file: "packages/optim/src/adafactor.ts",
    find: "first: firstRow,",
    replace: "first: 0 * firstRow,",
    tests: ["packages/optim/src/adafactor.test.ts"],
  },
  {
    name: "small parameters get eight-bit moments",
    file: "packages/optim/src/quantized.ts",
    find: "SMALLEST_QUANTIZED = 4096",
    replace: "SMALLEST_QUANTIZED = 1",
    tests: ["packages/optim/src/adamw8bit.test.ts"],
  },
  {
    name: "scales of eight-bit moments are not saved",
    file: "packages/optim/src/store.ts",
    find: "if (!quantized) continue;",
    replace: "if (quantized || !quantized) continue;",
    tests: ["packages/optim/src/adamw8bit.test.ts"],
  },
  {
    name: "AdamW decays what asked for none",
    file: "packages/optim/src/adamw.ts",
    find: "decay ? at.lr * rate * weightDecay : 0",
    replace: "at.lr * rate * weightDecay",
    tests: ["packages/optim/src/optimizers.test.ts"],
  },
  {
    name: "a group's rate is ignored",
    file: "packages/optim/src/adamw.ts",
    find: "(at.lr * rate) / (1",
    replace: "at.lr / (1",
    tests: ["packages/optim/src/optimizers.test.ts"],
  },
  {
    name: "warm-up starts at 1 instead of 0",
    file: "packages/optim/src/schedule.ts",
    find: "const rise = step /",
    replace: "const rise = (step + 1) /",
    tests: ["packages/optim/src/schedule.test.ts"],
  },
];
