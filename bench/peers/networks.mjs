// The peers' two networks on our stack: one recorded step (forward, backward, Adam), replayed.
import {
  addLayerNorm,
  attention,
  backward,
  embedding,
  gelu,
  linear,
  linearCrossEntropy,
  matmul,
  meanSquaredError,
  trainable,
} from "@tunesmith/autograd";
import { adamw, ParameterStore, scalarCount } from "@tunesmith/optim";
import { record } from "@tunesmith/tensor";
import { MLP, mlpData, mlpParameters, TRANSFORMER, transformerData, transformerParameters } from "./problem.mjs";

/** @import { Device, Program, Tensor, TensorData } from "@tunesmith/tensor" */
/** @import { Parameters } from "./problem.mjs" */

const ADAM = adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0 });

/**
 * @typedef {object} Network
 * @property {number} steps how many losses the peers recorded
 * @property {() => Promise<number>} step one training step on the same batch, waits for its loss; the first one records
 * @property {() => void} dispose
 */

/** @typedef {Readonly<Record<string, { shape: readonly number[], data: TensorData }>>} Data */

/**
 * A network whose step is the forward pass `loss`, its backward pass and an Adam update in one program.
 * @param {Device} device
 * @param {object} problem
 * @param {Parameters} problem.parameters
 * @param {Data} problem.data
 * @param {number} problem.lr
 * @param {number} problem.steps
 * @param {(at: (name: string) => Tensor<"f32">, inputs: (name: string) => Tensor<any>) => Tensor} loss
 * @returns {Network}
 */
function network(device, { parameters, data, lr, steps }, loss) {
  const specs = Object.entries(parameters).map(([name, { shape }]) => ({ name, shape, decay: false }));
  const store = new ParameterStore(device, specs, "weights");
  for (const [name, { values }] of Object.entries(parameters)) {
    store.write(name, "values", values);
    const views = store.parameter(name);
    trainable(views.values, views.gradients);
  }
  const recordStep = () =>
    record(device, "step", ({ input }) => {
      const inputs = new Map(
        Object.entries(data).map(([name, { shape, data: values }]) => [
          name,
          input(name, shape, values instanceof Int32Array ? "i32" : "f32"),
        ]),
      );
      const value = loss(
        (name) => store.parameter(name).values,
        (name) => /** @type {Tensor} */ (inputs.get(name)),
      );
      backward(value);
      ADAM.update(store, input("scalars", [scalarCount(store.layout)], "f32"));
      return { loss: value };
    });
  const values = Object.fromEntries(Object.entries(data).map(([name, given]) => [name, given.data]));
  /** @type {Program | undefined} */
  let program;
  let step = 0;
  return {
    steps,
    step: async () => {
      program ??= recordStep();
      const pending = program.replay({ ...values, scalars: ADAM.scalars(store.layout, { lr, step: ++step }) });
      return Number((await pending.read())["loss"]?.[0]);
    },
    dispose: () => {
      program?.dispose();
      store.dispose();
    },
  };
}

/**
 * Two linear layers with biases around a tanh-GELU, mean squared error.
 * @param {Device} device
 */
function mlp(device) {
  const { batch, dim, lr, steps } = MLP;
  const { x, y } = mlpData();
  const shape = [batch, dim];
  const data = { x: { shape, data: x }, y: { shape, data: y } };
  return network(device, { parameters: mlpParameters(), data, lr, steps }, (at, input) => {
    const hidden = gelu(linear(input("x"), at("w1"), { bias: at("b1"), layout: "in_out" }));
    return meanSquaredError(linear(hidden, at("w2"), { bias: at("b2"), layout: "in_out" }), input("y"));
  });
}

/**
 * Learned positions, pre-LayerNorm without biases, causal attention, tanh-GELU, untied head.
 * @param {Device} device
 */
function transformer(device) {
  const { vocab, length, batch, dim, heads, layers, lr, steps } = TRANSFORMER;
  const parameters = transformerParameters();
  const tokens = batch * length;
  const headDim = dim / heads;
  const { x, y } = transformerData();
  const row = (/** @type {number} */ i) => Math.floor(i / length) * length;
  const data = Object.fromEntries(
    Object.entries({
      ids: x,
      positions: x.map((_, i) => i % length),
      start: x.map((_, i) => row(i)),
      end: x.map((_, i) => row(i) + length),
      targets: y,
      rows: x.map((_, i) => i),
      weights: new Float32Array(tokens).fill(1 / tokens),
    }).map(([name, values]) => [name, { shape: [tokens], data: values }]),
  );
  // our output head is [vocab, dim], as checkpoints have it
  parameters["head"] = { shape: [vocab, dim], values: transposed(parameters["head"]?.values, dim, vocab) };
  return network(device, { parameters, data, lr, steps }, (at, input) => {
    const segments = { start: input("start"), end: input("end") };
    const options = { segments, heads, kvHeads: heads, headDim, scale: headDim ** -0.5 };
    /** @type {(x: Tensor, y: Tensor, name: string) => { sum: Tensor, normed: Tensor }} */
    const norm = (x, y, name) => addLayerNorm(x, y, at(name), { eps: 1e-5 });

    let h = norm(embedding(at("wte"), input("ids")), embedding(at("wpe"), input("positions")), "h0.ln1");
    for (let layer = 0; layer < layers; layer++) {
      const w = (/** @type {string} */ name) => at(`h${layer}.${name}`);
      const a = attention(matmul(h.normed, w("q")), matmul(h.normed, w("k")), matmul(h.normed, w("v")), options);
      h = norm(h.sum, matmul(a, w("o")), `h${layer}.ln2`);
      h = norm(
        h.sum,
        matmul(gelu(matmul(h.normed, w("up"))), w("down")),
        layer + 1 < layers ? `h${layer + 1}.ln1` : "lnf",
      );
    }
    const targets = { targets: input("targets"), weights: input("weights"), rows: input("rows") };
    return linearCrossEntropy(h.normed, at("head"), targets).loss;
  });
}

export const NETWORKS = { mlp, transformer };

/**
 * `[rows, columns]` → `[columns, rows]`
 * @param {Float32Array | undefined} values
 * @param {number} rows
 * @param {number} columns
 */
function transposed(values, rows, columns) {
  return Float32Array.from({ length: rows * columns }, (_, i) =>
    Number(values?.[(i % rows) * columns + Math.floor(i / rows)]),
  );
}
