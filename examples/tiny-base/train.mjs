// Trains the tiny base of the demo from scratch with our own stack and writes it, with the losses of the run, beside
// this script. About ten minutes on two CPU cores; `--steps N` stops early and writes nothing but the losses to stdout.
//   npm run build && node examples/tiny-base/train.mjs
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createSchedule, shiftLabels } from "@tunesmith/data";
import { baseDocument, TEXT_WEIGHT } from "@tunesmith/demo";
import { drawModel, readModelConfig } from "@tunesmith/models";
import { loadTokenizer, nodeFiles, openDevice } from "@tunesmith/node";
import { adamw, learningRate } from "@tunesmith/optim";
import { writeSafetensors } from "@tunesmith/safetensors";
import { storeForModel, train } from "@tunesmith/sft";

export const RECIPE = {
  seed: 0,
  steps: 2000,
  rowsPerStep: 40,
  rate: { name: "cosine", lr: 1.5e-3, warmupSteps: 100, totalSteps: 2000 },
  optimizer: adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, maxGradNorm: 1 }),
};
const folder = fileURLToPath(new URL(".", import.meta.url));

/** One document of the corpus with BOS and EOS; what is no part of an answer counts little. */
async function example(tokenizer, row) {
  const { prompt, answer } = baseDocument(RECIPE.seed, row);
  const { ids, starts } = await tokenizer.encode(prompt + answer, { addSpecialTokens: true });
  const inputIds = Int32Array.from([...ids, tokenizer.special.eosIds[0]]);
  const weights = Float32Array.from(inputIds, (_, t) => {
    const inAnswer = answer !== "" && (t === ids.length || (t > 0 && starts[t] >= prompt.length));
    return inAnswer ? 1 : TEXT_WEIGHT;
  });
  return { inputIds, ...shiftLabels(inputIds, weights), task: "base", row };
}

/** Runs the first `steps` steps of the recipe on a device; yields their events and, at the end, returns the weights. */
export async function* trainBase(device, steps = RECIPE.steps) {
  const files = nodeFiles();
  const tokenizer = await loadTokenizer(files, folder);
  const config = await readModelConfig(files, folder);
  const { store, place } = storeForModel(device, config);
  const model = await drawModel(device, config, { seed: RECIPE.seed, place });
  const rows = steps * RECIPE.rowsPerStep;
  const examples = [];
  for (let row = 0; row < rows; row++) examples.push(await example(tokenizer, row));
  const schedule = createSchedule({
    tasks: [{ name: "base" }],
    exampleTasks: new Uint8Array(rows),
    seed: RECIPE.seed,
    batchSize: RECIPE.rowsPerStep,
    gradAccumulation: 1,
    epochs: 1,
    shuffle: false, // the corpus is generated, and its noise grows from row to row
  });
  yield* train(
    { model, store, adapter: undefined },
    {
      examples,
      tasks: [{ name: "base", lossWeight: 1 }],
      schedule,
      packing: true,
      objective: "token_mean",
      optimizer: RECIPE.optimizer,
      learningRate: (step) => learningRate(RECIPE.rate, step),
      now: () => performance.now(),
    },
  );
  const weights = await store.readAll("values");
  const shapes = new Map(store.names.map((name) => [name, store.slices(name)[0].values.shape]));
  model.dispose();
  store.dispose();
  return { weights, shapes };
}

async function main() {
  const { values } = parseArgs({ options: { steps: { type: "string" } } });
  const steps = values.steps === undefined ? RECIPE.steps : Number(values.steps);
  const device = await openDevice();
  const losses = [];
  const run = trainBase(device, steps);
  const started = performance.now();
  let result;
  for (;;) {
    const { done, value } = await run.next();
    if (done) {
      result = value;
      break;
    }
    losses.push(Number(value.loss.toPrecision(7)));
    if (value.step % 50 === 0) {
      const recent = losses.slice(-50).reduce((a, b) => a + b, 0) / 50;
      console.error(`step ${value.step}/${steps}  loss ${recent.toFixed(4)}  ${value.timing.tokens_per_second.toFixed(0)} tokens/s  ${((performance.now() - started) / 1000).toFixed(0)} s`);
    }
  }
  if (steps < RECIPE.steps) {
    console.log(JSON.stringify(losses));
    return;
  }
  const tensors = new Map();
  for (const [name, data] of result.weights) {
    tensors.set(name, { dtype: "F32", shape: result.shapes.get(name), data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) });
  }
  await writeSafetensors(nodeFiles(), `${folder}model.safetensors`, tensors, new Map([["format", "pt"]]));
  const log = { recipe: RECIPE, device: device.facts.description, first_losses: losses.slice(0, 50), final_loss: losses.slice(-50).reduce((a, b) => a + b, 0) / 50 };
  writeFileSync(`${folder}training.json`, `${JSON.stringify(log, null, 2)}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
