// While a GPU promise is pending, Dawn's addon polls in a loop of setImmediate and keeps a core busy. Pacing that loop
// freed 26-37 % of the wall time on two cores, where the software driver needs them.

let waiting = 0;
let polls = 0;
const native = globalThis.setImmediate;
// fast first, then at most 1 ms of latency
const paced = ((f: (...args: unknown[]) => void, ...args: unknown[]) =>
  ++polls <= 200 ? native(f, ...args) : setTimeout(f, 1, ...args)) as unknown as typeof setImmediate;

/** Waits for a GPU promise without spinning. Nested and concurrent waits restore the original on the last return. */
export async function settled<T>(promise: Promise<T>): Promise<T> {
  if (waiting++ === 0) {
    polls = 0;
    globalThis.setImmediate = paced;
  }
  try {
    return await promise;
  } finally {
    if (--waiting === 0) globalThis.setImmediate = native;
  }
}
