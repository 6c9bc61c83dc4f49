import { declareTokens, forward, type Adapter, type Model, outputHead, tokenValues } from "@tunesmith/models";
import { headLogits, softCap } from "@tunesmith/autograd";
import { empty, record } from "@tunesmith/tensor";

/** Logits `[ids, vocab]` of one row, row-major. */
export async function logitsOf(
  model: Model,
  adapter: Adapter | undefined,
  ids: readonly number[],
): Promise<Float32Array> {
  const { config, device } = model;
  const tokens = 64;
  const program = record(device, "logits", (inputs) => {
    const hidden = forward(model, declareTokens(inputs, tokens), { adapter });
    const logits = empty(device, [tokens, config.vocabSize]);
    headLogits(hidden, outputHead(model, adapter), logits);
    return { logits: config.logitSoftCap === undefined ? logits : softCap(logits, config.logitSoftCap) };
  });
  const sequence = {
    inputIds: Int32Array.from(ids),
    positionIds: Int32Array.from(ids, (_, t) => t),
    segmentIds: new Int32Array(ids.length),
  };
  const limits = { vocab: config.vocabSize, positions: model.positions };
  const { logits } = await program.replay(tokenValues(sequence, tokens, limits)).read();
  program.dispose();
  return (logits as Float32Array).slice(0, ids.length * config.vocabSize);
}
