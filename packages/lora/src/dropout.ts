import { siteId } from "@tunesmith/core";
import type { DropoutKey } from "@tunesmith/autograd";
import type { LoraAdapter } from "./adapter.ts";
import { LoraError } from "./errors.ts";

/**
 * The adapter while it trains: the input of each A passes dropout, with a mask of its own per module.
 *
 * @param key - where the masks lie in the stream of random numbers; modules differ in their site
 * @throws LoraError `ADAPTER_UNSUPPORTED` for DoRA, where PEFT drops the base's input as well
 */
export function withDropout(
  adapter: LoraAdapter,
  p: number,
  key: Omit<DropoutKey, "site">,
): Pick<LoraAdapter, "at" | "weight" | "bias" | "changedRows"> {
  if (adapter.config.useDora)
    throw new LoraError("ADAPTER_UNSUPPORTED", "DoRA with dropout is not implemented", {
      received: `dropout ${p} with use_dora`,
      expected: "one of the two",
      fix: "set dropout to 0",
    });
  return {
    weight: adapter.weight,
    bias: adapter.bias,
    changedRows: adapter.changedRows,
    at: (path) => {
      const lowRank = adapter.at(path);
      return lowRank && { ...lowRank, dropout: { p, key: { ...key, site: siteId(path, "lora_dropout") } } };
    },
  };
}
