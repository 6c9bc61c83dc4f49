import type { JsonObject, JsonValue } from "@tunesmith/core";
import { arrayOf, checkColumns, failRow, preview, required, type RowAt, taskOf } from "./columns.ts";
import type { TokensRow } from "./row.ts";

/** What an entry may be; some writers put true and false into masks. */
interface Range {
  readonly min: number;
  readonly max: number;
  readonly also?: number;
  readonly booleans?: boolean;
}

function integers(value: JsonValue, at: RowAt, what: string, range: Range): Int32Array {
  return Int32Array.from(arrayOf(value, at, `\`${what}\``), (raw, i) => {
    const entry = range.booleans === true && typeof raw === "boolean" ? Number(raw) : raw;
    if (Number.isInteger(entry)) {
      const n = entry as number;
      if ((n >= range.min && n <= range.max) || n === range.also) return n;
    }
    failRow("VALUE_INVALID", at, `${what}[${i}] is out of range`, {
      expected: `an integer in ${range.min}…${range.max}${range.also === undefined ? "" : ` or ${range.also}`}`,
      received: preview(entry),
    });
  });
}

/**
 * `{input_ids, labels?, attention_mask?, position_ids?, task?}`, made by another tokenizer run: labels are unshifted
 * as in Hugging Face (−100 = ignored, absent = all), attention_mask 0 is padding.
 */
export function readTokens(row: JsonObject, at: RowAt): TokensRow {
  checkColumns(row, ["input_ids", "labels", "attention_mask", "position_ids", "task"], at, "a `tokens` row");
  const id: Range = { min: 0, max: 2 ** 31 - 1 };
  const inputIds = integers(required(row, "input_ids", at, "a `tokens` row"), at, "input_ids", id);
  if (inputIds.length === 0) failRow("VALUE_INVALID", at, "`input_ids` is empty", { expected: "at least one id" });
  const beside = (key: string, range: Range): Int32Array | undefined => {
    const value = row.get(key);
    if (value === undefined || value === null) return undefined;
    const array = integers(value, at, key, range);
    if (array.length !== inputIds.length) {
      failRow("VALUE_INVALID", at, `\`${key}\` has ${array.length} entries`, {
        expected: `${inputIds.length} entries, one per input id`,
        received: String(array.length),
      });
    }
    return array;
  };
  const labels = beside("labels", { ...id, also: -100 });
  const attentionMask = beside("attention_mask", { min: 0, max: 1, booleans: true });
  const positionIds = beside("position_ids", id);
  return {
    kind: "tokens",
    inputIds,
    ...(labels === undefined ? {} : { labels }),
    ...(attentionMask === undefined ? {} : { attentionMask }),
    ...(positionIds === undefined ? {} : { positionIds }),
    ...taskOf(row, at),
  };
}
