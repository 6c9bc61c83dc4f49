// The peers' two networks on our stack: a recorded step (forward, backward, Adam) that is replayed.
import {
  add,
  attention,
  backward,
  embedding,
  gelu,
  layerNorm,
  linearCrossEntropy,
  matmul,
  meanSquaredError,
  trainable,
} from "@tunesmith/autograd";
import { ADAMW_SCALARS, adamwScalars, adamwStep, ParameterStore } from "@tunesmith/optim";
import { empty, fill, launch, record } from "@tunesmith/tensor";
import { ADAM, MLP, mlpData, mlpParameters, TRANSFORMER, transformerData, transformerParameters } from "./problem.mjs";

/** Puts parameters into a store and hands them out as trainable tensors. */
function parameterStore(device, parameters) {
  const specs = Object.entries(parameters).map(([name, [, shape]]) => ({ name, shape, decay: false }));
  const store = new ParameterStore(device, specs, "weights");
  for (const [name, [values]] of Object.entries(parameters)) store.write(name, "values", values);
  const tensors = new Map(store.names.map((name) => [name, store.parameter(name)]));
  for (const { values, gradients } of tensors.values()) trainable(values, gradients);
  return { store, at: (name) => tensors.get(name).values };
}

/** Records `loss` with its backward pass and the update; returns a function that runs one step. */
function trainer(device, store, lr, declare, loss) {
  const program = record(device, "step", (inputs) => {
    const value = loss(declare(inputs));
    const one = empty(device, value.shape);
    launch(fill, { params: { n: 1, value: 1 }, reads: {}, writes: { out: one } });
    backward(value, one);
    adamwStep(store, inputs.input("scalars", [ADAMW_SCALARS], "f32"), ADAM);
    return { loss: value };
  });
  let step = 0;
  return {
    program,
    dispose: () => {
      program.dispose();
      store.dispose();
    },
    step: async (data) => {
      const { loss: value } = await program
        .replay({ ...data, scalars: adamwScalars(ADAM, { lr, step: ++step }) })
        .read();
      return value[0];
    },
  };
}

/** Two linear layers with biases around a tanh-GELU, mean squared error. */
export function mlp(device) {
  const { store, at } = parameterStore(device, mlpParameters());
  const { batch, dim, lr } = MLP;
  const data = mlpData();
  const declare = ({ input }) => ({ x: input("x", [batch, dim], "f32"), y: input("y", [batch, dim], "f32") });
  const run = trainer(device, store, lr, declare, ({ x, y }) => {
    const hidden = gelu(matmul(x, at("w1"), { bias: at("b1") }));
    return meanSquaredError(matmul(hidden, at("w2"), { bias: at("b2") }), y);
  });
  return { ...run, step: () => run.step(data) };
}

/** Learned positions, pre-LayerNorm without biases, causal attention, tanh-GELU, untied head. */
export function transformer(device) {
  const { vocab, length, batch, dim, heads, layers, lr } = TRANSFORMER;
  const parameters = transformerParameters();
  const [head] = parameters.head;
  // our output head is [vocab, dim], as checkpoints have it
  parameters.head = [
    Float32Array.from({ length: vocab * dim }, (_, i) => head[(i % dim) * vocab + Math.floor(i / dim)]),
    [vocab, dim],
  ];
  const { store, at } = parameterStore(device, parameters);
  const tokens = batch * length;
  const { x, y } = transformerData();
  const row = (i) => Math.floor(i / length) * length;
  const data = {
    ids: x,
    positions: x.map((_, i) => i % length),
    targets: y,
    start: x.map((_, i) => row(i)),
    end: x.map((_, i) => row(i) + length),
  };
  const declare = ({ input }) =>
    Object.fromEntries(Object.keys(data).map((name) => [name, input(name, [tokens], "i32")]));
  const run = trainer(device, store, lr, declare, ({ ids, positions, targets, start, end }) => {
    let h = add(embedding(at("wte"), ids), embedding(at("wpe"), positions));
    for (let layer = 0; layer < layers; layer++) {
      const w = (name) => at(`h${layer}.${name}`);
      const n1 = layerNorm(h, w("ln1"), { eps: 1e-5 });
      const a = attention(matmul(n1, w("q")), matmul(n1, w("k")), matmul(n1, w("v")), {
        segmentStart: start,
        segmentEnd: end,
        heads,
        kvHeads: heads,
        headDim: dim / heads,
        scale: (dim / heads) ** -0.5,
      });
      h = add(h, matmul(a, w("o")));
      h = add(h, matmul(gelu(matmul(layerNorm(h, w("ln2"), { eps: 1e-5 }), w("up"))), w("down")));
    }
    return linearCrossEntropy(layerNorm(h, at("lnf"), { eps: 1e-5 }), at("head"), { targets });
  });
  return { ...run, step: () => run.step(data) };
}
