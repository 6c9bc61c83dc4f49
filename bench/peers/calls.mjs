// Counts what a GPUDevice is asked to do, by standing in front of its own methods.

/**
 * @typedef {object} Calls
 * @property {number} buffers
 * @property {number} bindGroups
 * @property {number} pipelines
 * @property {number} submits
 * @property {number} dispatches
 */

/**
 * @param {GPUDevice} gpu
 * @returns {{ take(): Calls, liveBuffers(): number, stop(): void }} `take` gives the calls since the last `take`;
 *   `liveBuffers` the buffers made since the start and not yet destroyed
 */
export function countCalls(gpu) {
  const none = { buffers: 0, bindGroups: 0, pipelines: 0, submits: 0, dispatches: 0 };
  let calls = { ...none };
  let live = 0;
  /** @type {(() => void)[]} */
  const undo = [];
  /**
   * @template {object} T
   * @param {T} target
   * @param {keyof T & string} name
   * @param {(result: any) => void} seen
   */
  const wrap = (target, name, seen) => {
    const original = /** @type {(...args: unknown[]) => unknown} */ (target[name]);
    /** @param {unknown[]} args */
    const counted = (...args) => {
      const result = original.apply(target, args);
      seen(result);
      return result;
    };
    Object.defineProperty(target, name, { value: counted, configurable: true });
    return () => void Reflect.deleteProperty(target, name);
  };
  undo.push(
    wrap(gpu, "createBuffer", (/** @type {GPUBuffer} */ buffer) => {
      calls.buffers++;
      live++;
      let alive = 1;
      wrap(buffer, "destroy", () => {
        live -= alive;
        alive = 0;
      });
    }),
    wrap(gpu, "createBindGroup", () => calls.bindGroups++),
    wrap(gpu, "createComputePipeline", () => calls.pipelines++),
    wrap(gpu, "createComputePipelineAsync", () => calls.pipelines++),
    wrap(gpu.queue, "submit", () => calls.submits++),
    wrap(gpu, "createCommandEncoder", (/** @type {GPUCommandEncoder} */ encoder) => {
      wrap(encoder, "beginComputePass", (/** @type {GPUComputePassEncoder} */ pass) => {
        wrap(pass, "dispatchWorkgroups", () => calls.dispatches++);
        wrap(pass, "dispatchWorkgroupsIndirect", () => calls.dispatches++);
      });
    }),
  );
  return {
    take: () => {
      const taken = calls;
      calls = { ...none };
      return taken;
    },
    liveBuffers: () => live,
    stop: () => {
      for (const restore of undo) restore();
    },
  };
}
