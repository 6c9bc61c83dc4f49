// A dispatch must not bind one buffer both for reading and for writing, so an output that takes over the buffer of an
// input needs a kernel that binds it once, read_write. That kernel is the old one under other names: the same text and
// the same arithmetic.

import type { Kernel } from "./kernel.ts";

const derived = new WeakMap<Kernel, Map<string, Kernel>>();

/**
 * The kernel with some outputs in the place of inputs.
 * @param taken - output → the read it replaces; each as `kernel.inPlace` allows
 */
export function inPlaceKernel(kernel: Kernel, taken: ReadonlyMap<string, string>): Kernel {
  const key = [...taken].map(([write, read]) => `${read}=${write}`).join(",");
  let known = derived.get(kernel);
  if (!known) derived.set(kernel, (known = new Map()));
  let found = known.get(key);
  if (!found) known.set(key, (found = derive(kernel, taken, key)));
  return found;
}

function derive(kernel: Kernel, taken: ReadonlyMap<string, string>, key: string): Kernel {
  const gone = new Set(taken.values());
  const without = <T>(bindings: Readonly<Record<string, T>>, dropped: { has(name: string): boolean }): object =>
    Object.fromEntries(Object.entries(bindings).filter(([name]) => !dropped.has(name)));
  const reads = without(kernel.reads, gone) as Kernel["reads"];
  const writes = without(kernel.writes, taken) as Kernel["writes"];
  const updates = {
    ...kernel.updates,
    ...Object.fromEntries([...taken.keys()].map((write) => [write, kernel.writes[write]!])),
  };
  return {
    label: `${kernel.label}(${key})`,
    params: kernel.params,
    reads,
    writes,
    updates,
    workgroups: kernel.workgroups,
    wgsl: (spec, facts) => {
      let text = kernel.wgsl(spec, facts);
      for (const [write, read] of taken)
        text = text.replaceAll(new RegExp(`(?<![.\\w])${read}(?=\\s*\\[)`, "g"), write);
      return text;
    },
    ...(kernel.cost ? { cost: costInPlace(kernel.cost, taken) } : {}),
  };
}

/** The same work: what was read under one name is now read under that of the output. */
function costInPlace(
  cost: NonNullable<Kernel["cost"]>,
  taken: ReadonlyMap<string, string>,
): NonNullable<Kernel["cost"]> {
  const now = new Map([...taken].map(([write, read]) => [read, write]));
  return (params, spec, work) =>
    cost(params, spec, { values: work.values, bytes: (name) => work.bytes(now.get(name) ?? name) });
}
