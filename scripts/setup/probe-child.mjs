// Asks Dawn for a device and lets it add two numbers. Runs in a process of its own (see probe.mjs): a broken
// driver can crash the process that loads it. Prints one line of JSON.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ROOT } from "./paths.mjs";

/** @type {unknown[]} Dawn's objects crash the process when collected too early: they stay referenced to the end */
const keep = [];

/** @returns {Promise<import("@tunesmith/node/driver-help").ProbeOutcome>} */
async function probe() {
  const fromNodePackage = createRequire(join(ROOT, "packages", "node", "package.json"));
  /** @type {{ create: (options: string[]) => GPU, globals: object }} */
  let webgpu;
  try {
    webgpu = await import(pathToFileURL(fromNodePackage.resolve("webgpu")).href);
  } catch (error) {
    return { kind: "load_failed", reason: String(/** @type {Error} */ (error).message) };
  }
  Object.assign(globalThis, webgpu.globals);
  const gpu = webgpu.create(process.platform === "linux" ? ["backend=vulkan"] : []);
  const adapter = await gpu.requestAdapter({ featureLevel: "core", powerPreference: "high-performance" });
  keep.push(gpu, adapter);
  if (!adapter) {
    const lesser = await gpu.requestAdapter({ featureLevel: "compatibility", powerPreference: "high-performance" });
    keep.push(lesser);
    return lesser
      ? { kind: "refused", adapter: describe(lesser), reason: "it offers WebGPU's compatibility level only" }
      : { kind: "no_adapter" };
  }
  try {
    const device = await adapter.requestDevice();
    keep.push(device);
    const sum = await addOnDevice(device, 19, 23);
    if (sum !== 42) return { kind: "refused", adapter: describe(adapter), reason: `it computed 19 + 23 = ${sum}` };
  } catch (error) {
    return { kind: "refused", adapter: describe(adapter), reason: String(/** @type {Error} */ (error).message) };
  }
  return { kind: "device", adapter: describe(adapter), software: adapter.info.isFallbackAdapter === true };
}

/** @param {GPUAdapter} adapter */
function describe({ info }) {
  return [info.vendor, info.architecture, info.description || info.device].filter(Boolean).join(", ");
}

/**
 * @param {GPUDevice} device
 * @param {number} a
 * @param {number} b
 */
async function addOnDevice(device, a, b) {
  const module = device.createShaderModule({
    code: `@group(0) @binding(0) var<storage, read_write> x: array<u32>;
      @compute @workgroup_size(1) fn main() { x[2] = x[0] + x[1]; }`,
  });
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } });
  const numbers = device.createBuffer({
    size: 12,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
  });
  const result = device.createBuffer({ size: 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  keep.push(module, pipeline, numbers, result);
  device.queue.writeBuffer(numbers, 0, new Uint32Array([a, b, 0]));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(
    0,
    device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer: numbers } }],
    }),
  );
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(numbers, 8, result, 0, 4);
  device.queue.submit([encoder.finish()]);
  await result.mapAsync(GPUMapMode.READ);
  return new Uint32Array(result.getMappedRange())[0];
}

process.stdout.write(`${JSON.stringify(await probe())}\n`);
