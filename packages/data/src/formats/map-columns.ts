// Columns of any file to the columns of a format, as the config's `map` says.

import { type JsonObject, type JsonValue, nearest, siteId, uniformInt } from "@tunesmith/core";
import { DataError } from "../errors.ts";
import type { RowAt } from "../readers/place.ts";
import { failRow, preview } from "./columns.ts";

/** Column of the format → text with `{{column}}` in it, or several wordings of which each row draws one. */
export type ColumnMap = Readonly<Record<string, string | readonly string[]>>;

/** by row number alone: the same rows in a file of another name draw the same */
const WORDING = siteId("data.map", "wording");

type Part = { readonly text: string } | { readonly path: readonly string[] };

interface Rule {
  readonly column: string;
  readonly wordings: readonly (readonly Part[])[];
}

/** Does a seed make a difference? */
export function drawsWordings(map: ColumnMap | undefined): boolean {
  return Object.values(map ?? {}).some((wordings) => typeof wordings !== "string" && wordings.length > 1);
}

/** A map ready to use. */
export interface ColumnMapper {
  /** columns of the file that the map reads */
  readonly reads: ReadonlySet<string>;
  /** @throws DataError `COLUMN_MISSING` or `VALUE_INVALID` with the row's place */
  apply(row: JsonObject, at: RowAt): JsonObject;
}

function invalid(column: string, because: string, received: string): never {
  throw new DataError("MAP_INVALID", `map.${column}: ${because}`, {
    expected: "a text with {{column}} or {{column.member}} in it, or a list of such texts",
    received,
    fix: `correct map.${column}`,
  });
}

function partsOf(column: string, wording: string): Part[] {
  const parts: Part[] = [];
  let from = 0;
  for (const match of wording.matchAll(/\{\{([^{}]*)\}\}/g)) {
    if (match.index > from) parts.push({ text: wording.slice(from, match.index) });
    from = match.index + match[0].length;
    const path = match[1]!.trim().split(".");
    if (path.some((name) => name === "")) invalid(column, `${match[0]} names no column`, wording);
    parts.push({ path });
  }
  const rest = wording.slice(from);
  if (/\{\{|\}\}/.test(rest.replaceAll(/[^{}]+/g, " ")))
    invalid(column, "a {{ is not closed or a }} not opened", wording);
  if (rest !== "" || parts.length === 0) parts.push({ text: rest });
  return parts;
}

/**
 * @param seed - with the row's number it decides which wording a row takes
 * @throws DataError `MAP_INVALID`
 */
export function createColumnMapper(map: ColumnMap, seed: number): ColumnMapper {
  const rules = Object.entries(map).map(([column, written]): Rule => {
    const wordings = typeof written === "string" ? [written] : written;
    if (wordings.length === 0) invalid(column, "there is no wording", "[]");
    return { column, wordings: wordings.map((wording) => partsOf(column, wording)) };
  });
  const counts = new Set(rules.map(({ wordings }) => wordings.length).filter((count) => count > 1));
  if (counts.size > 1) {
    const [several] = rules.filter(({ wordings }) => wordings.length > 1);
    // a row draws one number: the wordings of its prompt and its completion belong together
    invalid(several!.column, "columns with several wordings need equally many", [...counts].join(" and "));
  }
  const total = [...counts][0] ?? 1;
  const reads = new Set(
    rules.flatMap(({ wordings }) => wordings.flat().flatMap((part) => ("path" in part ? [part.path[0]!] : []))),
  );
  return {
    reads,
    apply(row, at) {
      const index = at.row ?? at.line ?? 0;
      const drawn = total === 1 ? 0 : uniformInt(total, seed, WORDING, 0, index);
      const mapped: [string, JsonValue][] = rules.map(({ column, wordings }) => [
        column,
        filled(wordings.length === 1 ? wordings[0]! : wordings[drawn]!, row, at, column),
      ]);
      const task = row.get("task");
      if (task !== undefined && !Object.hasOwn(map, "task")) mapped.push(["task", task]);
      return new Map(mapped);
    },
  };
}

/** A wording that is one column alone is its value, whatever its type; in a text, numbers and booleans are written out. */
function filled(parts: readonly Part[], row: JsonObject, at: RowAt, column: string): JsonValue {
  const [only] = parts;
  if (parts.length === 1 && "path" in only!) return valueAt(only.path, row, at, column);
  return parts
    .map((part) => {
      if ("text" in part) return part.text;
      const value = valueAt(part.path, row, at, column);
      if (typeof value === "string") return value;
      if (typeof value === "number" || typeof value === "boolean") return String(value);
      return failRow("VALUE_INVALID", at, `\`${part.path.join(".")}\` is no text, and map.${column} puts it into one`, {
        expected: "a string, a number or a boolean",
        received: preview(value),
        fix: "name a member of it, as in {{column.member}}, or map the column alone",
      });
    })
    .join("");
}

function valueAt(path: readonly string[], row: JsonObject, at: RowAt, column: string): JsonValue {
  let value: JsonValue = row;
  for (const [i, name] of path.entries()) {
    const inside: JsonValue | undefined =
      value instanceof Map
        ? value.get(name)
        : Array.isArray(value) && /^\d+$/.test(name)
          ? value[Number(name)]
          : undefined;
    if (inside === undefined) {
      const keys = value instanceof Map ? [...value.keys()] : [];
      const near = nearest(name, keys);
      failRow("COLUMN_MISSING", at, `map.${column} reads \`${path.slice(0, i + 1).join(".")}\`, which is not there`, {
        expected: name,
        received: keys.join(", ") || preview(value),
        fix: near === undefined ? "correct the map" : `did you mean {{${[...path.slice(0, i), near].join(".")}}}?`,
      });
    }
    value = inside;
  }
  return value;
}
