// Published frameworks as rivals of bench/matmul.mjs. They are installed outside this repository, so the process that
// runs them starts in their folder and hands in its own `import`.
import { settled } from "../../packages/node/dist/settled.js"; // not the package: that would load a second Dawn
import { serve } from "./rival.mjs";

/** @typedef {import("./rival.mjs").Rival} Rival */
/** @typedef {(specifier: string) => Promise<any>} Import */

/** @type {Record<string, (load: Import) => Promise<Rival>>} */
const PEERS = {
  "jax-js": async (load) => {
    const jax = await load("@jax-js/jax");
    await jax.init("webgpu");
    jax.defaultDevice("webgpu");
    return {
      async prepare(n, a, b) {
        const [x, y] = [a, b].map((data) => jax.numpy.array(data).reshape([n, n]));
        await settled(jax.blockUntilReady([x, y]));
        const multiply = () => jax.numpy.matmul(x.ref, y.ref);
        return {
          async run(times) {
            const results = Array.from({ length: times }, multiply);
            await settled(jax.blockUntilReady(results)); // it maps a buffer of no bytes, which waits for nothing
            await settled(jax.getWebGPUDevice().queue.onSubmittedWorkDone());
            for (const result of results) result.dispose();
          },
          read: async () => Float32Array.from(await settled(multiply().data())),
        };
      },
    };
  },
  "tfjs-webgpu": async (load) => {
    const { navigator } = globalThis;
    const module = await load("@tensorflow/tfjs");
    const tf = module.default ?? module;
    const webgpu = await load("@tensorflow/tfjs-backend-webgpu");
    const { WebGPUBackend } = webgpu.webgpu ?? webgpu.default?.webgpu ?? webgpu;
    const adapter = /** @type {any} */ (await navigator.gpu.requestAdapter());
    const names = ["maxComputeWorkgroupStorageSize", "maxStorageBufferBindingSize", "maxBufferSize"];
    const sizes = ["maxComputeWorkgroupsPerDimension", "maxComputeWorkgroupSizeX", "maxComputeInvocationsPerWorkgroup"];
    const device = await adapter.requestDevice({
      requiredLimits: Object.fromEntries([...names, ...sizes].map((name) => [name, adapter.limits[name]])),
    });
    tf.removeBackend("webgpu");
    tf.registerBackend("webgpu", () => new WebGPUBackend(device, adapter.info), 5);
    await tf.setBackend("webgpu");
    await tf.ready();
    if (tf.getBackend() !== "webgpu") throw new Error(`tfjs runs on ${tf.getBackend()}`);
    return {
      async prepare(n, a, b) {
        const [x, y] = [tf.tensor(a, [n, n]), tf.tensor(b, [n, n])];
        return {
          async run(times) {
            for (let i = 0; i < times; i++) tf.matMul(x, y).dispose();
            const backend = tf.backend(); // it submits every fifteenth dispatch by itself
            if (backend.commandEncoder) {
              backend.endComputePassEncoder();
              backend.submitQueue();
            }
            await settled(device.queue.onSubmittedWorkDone());
          },
          read: async () => Float32Array.from(await settled(tf.matMul(x, y).data())),
        };
      },
    };
  },
  "onnxruntime-web": async (load) => {
    // its heap is a SharedArrayBuffer, which Dawn's addon refuses in writeBuffer
    const write = GPUQueue.prototype.writeBuffer;
    GPUQueue.prototype.writeBuffer = function (
      /** @type {any} */ buffer,
      /** @type {any} */ offset,
      /** @type {any} */ data,
      start = 0,
      /** @type {any} */ size,
    ) {
      const memory = data.buffer ?? data;
      if (!(memory instanceof SharedArrayBuffer)) return write.call(this, buffer, offset, data, start, size);
      const unit = data.BYTES_PER_ELEMENT ?? 1;
      const bytes = size === undefined ? data.byteLength - start * unit : size * unit;
      const copy = new Uint8Array(memory, (data.byteOffset ?? 0) + start * unit, bytes).slice();
      return write.call(this, buffer, offset, copy);
    };
    const ort = await load("onnxruntime-web/webgpu");
    const { model } = await load("./onnx.mjs");
    ort.env.wasm.numThreads = 1;
    ort.env.logLevel = "error";
    return {
      async prepare(n, a, b) {
        const dims = [n, n];
        const graph = model("MatMul", [["a", dims], ["b", dims]], dims, []); // prettier-ignore
        const session = await ort.InferenceSession.create(graph, {
          executionProviders: ["webgpu"],
          preferredOutputLocation: "gpu-buffer",
        });
        const device = await ort.env.webgpu.device;
        const feeds = Object.fromEntries(
          Object.entries({ a, b }).map(([name, data]) => {
            const buffer = device.createBuffer({ size: data.byteLength, usage: 0x8c });
            device.queue.writeBuffer(buffer, 0, data);
            return [name, ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims })];
          }),
        );
        return {
          async run(times) {
            for (let i = 0; i < times; i++) (await session.run(feeds)).out.dispose();
            await settled(device.queue.onSubmittedWorkDone());
          },
          async read() {
            const { out } = await session.run(feeds);
            return Float32Array.from(await settled(out.getData()));
          },
        };
      },
    };
  },
};

/**
 * @param {Import} load - `import` of the folder in which the peers are installed
 * @param {string} name - one of PEERS
 */
export async function main(load, name) {
  await load("./common.mjs"); // opens Dawn with DAWN_FLAGS and puts it where frameworks look for it
  const peer = PEERS[name];
  if (!peer) throw new Error(`no peer is called ${name}`);
  serve({ [name]: await peer(load) });
}
