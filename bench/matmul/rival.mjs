// The far side of bench/matmul.mjs: a process that holds the operands and multiplies when told to. Its first argument
// names a set of rivals in RIVALS, the second the module that defines it.
import { normals } from "./problem.mjs";

/**
 * @typedef {object} Rival
 * @property {(n: number, a: Float32Array, b: Float32Array) => Promise<{ run: (times: number) => Promise<void>, read: () => Promise<Float32Array> }>} prepare
 */

/**
 * Serves the messages of the parent: {rival, n, times} → {ms, cpu}, or {result} of the first run where `read` is set.
 * @param {Record<string, Rival>} rivals
 * @param {Record<string, string>} facts
 */
export function serve(rivals, facts = {}) {
  /** @type {Map<string, Awaited<ReturnType<Rival["prepare"]>>>} */
  const prepared = new Map();
  process.on("message", async (message) => {
    const { rival, n, times, read } = /** @type {any} */ (message);
    try {
      const key = `${rival} ${n}`;
      let ready = prepared.get(key);
      const start = performance.now();
      ready ??= await rivals[rival]?.prepare(n, normals(n * n, 1), normals(n * n, 2));
      if (!ready) throw new Error(`no rival is called ${rival}`);
      prepared.set(key, ready);
      const begun = performance.now();
      const cpu = process.cpuUsage();
      await ready.run(times);
      const used = process.cpuUsage(cpu);
      const end = performance.now();
      process.send?.({
        ms: (end - begun) / times,
        cpu: (used.user + used.system) / 1000 / times,
        first: end - start,
        result: read ? await ready.read() : undefined,
      });
    } catch (error) {
      process.send?.({ error: String(error) });
    }
  });
  process.send?.({ rivals: Object.keys(rivals), facts });
}
