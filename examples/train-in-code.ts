// A training run in code: rows to examples, an adapter on a frozen model, the loop, a folder that PEFT opens. Nothing but
// public exports. `tests/train-in-code.test.ts` runs it.
import { checkLosses, createSchedule, loadDataset } from "@tunesmith/data";
import { writePeft } from "@tunesmith/lora";
import { loadModel } from "@tunesmith/models";
import { loadTokenizer, nodeFiles, openDevice } from "@tunesmith/node";
import { adamw, learningRate } from "@tunesmith/optim";
import { train, tuneLora } from "@tunesmith/sft";

export async function trainInCode(folder: string, rows: string, out: string): Promise<void> {
  const files = nodeFiles();
  const device = await openDevice();
  const model = await loadModel(device, files, folder, { positions: 128 });
  const tokenizer = await loadTokenizer(files, folder);
  const reading = { trainOn: "assistant", overlong: "error", appendEos: true, chatTemplate: "auto" } as const;
  const limits = { maxLength: 128, vocabSize: model.config.vocabSize, now: new Date() };
  const entries = [{ path: rows, name: "rows" }];
  const dataset = await loadDataset({ files, folder, tokenizer, entries, ...reading, ...limits });
  checkLosses(dataset.reports, 0.05);
  const { examples } = dataset;
  const order = { seed: 0, shuffle: true, batchSize: 4, gradAccumulation: 1, epochs: 3 };
  const schedule = createSchedule({ tasks: dataset.tasks, exampleTasks: examples.map(() => 0), ...order });
  const rate = { name: "cosine", lr: 1e-2, warmupSteps: 2, totalSteps: schedule.totalSteps } as const;
  const tuning = tuneLora(model, { r: 8, alpha: 16, useRslora: false, targetModules: "all-linear" }, { seed: 0 });
  for await (const event of train(tuning, {
    examples,
    schedule,
    packing: true,
    objective: "token_mean",
    tasks: [{ name: "rows", lossWeight: 1 }],
    optimizer: adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01, maxGradNorm: 1 }),
    learningRate: (step) => learningRate(rate, step),
    now: () => performance.now(),
  }))
    if (event.type === "step") console.log(`step ${event.step} of ${event.total_steps}: loss ${event.loss.toFixed(4)}`);
  await writePeft(files, out, tuning.adapter, folder);
  device.destroy();
}
