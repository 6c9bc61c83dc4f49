// jinja2's filters by name.

import type { Filter, Host } from "./filters/filter.ts";
import { SCALARS } from "./filters/scalars.ts";
import { SEQUENCES } from "./filters/sequences.ts";
import { TEXTS } from "./filters/text.ts";
import { type CallArguments, TemplateError, type Value } from "./values.ts";

const FILTERS: ReadonlyMap<string, Filter> = new Map([...SCALARS, ...SEQUENCES, ...TEXTS]);

export const FILTER_NAMES: ReadonlySet<string> = new Set(FILTERS.keys());

/** @throws TemplateError where the filter does not exist or refuses the value */
export function runFilter(name: string, value: Value, args: CallArguments, host: Host): Value {
  host.budget.step();
  const run = FILTERS.get(name);
  if (run === undefined) throw new TemplateError(`No filter named '${name}'.`);
  return run(value, args, host, name);
}
