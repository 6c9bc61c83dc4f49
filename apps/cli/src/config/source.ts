// A config file as text: YAML 1.2 read strictly, `--set` laid over it, and where each key was written.

import { isMap, isSeq, LineCounter, parseDocument } from "yaml";
import type { Document, Node } from "yaml";
import { CliError } from "../errors.ts";

/** Keys from the root of the config: `["data", "train", 0, "path"]`. */
export type KeyPath = readonly (string | number)[];

/** What was written, before defaults; and where. */
export interface ConfigSource {
  /** as given on the command line; named in errors */
  readonly path: string;
  readonly value: unknown;
  /** where a key of `value` is written; another place only for a stage, whose config is put together */
  at(key: KeyPath): KeyPath;
  /** the `--set` argument that wrote this key, if one did */
  setBy(key: KeyPath): string | undefined;
  /** 1-based line of a key, or of the nearest key around it that is in the file */
  lineOf(key: KeyPath): number | undefined;
}

/** Enough for every config a person writes; a bomb of nested aliases needs far more. */
const MAX_ALIASES = 100;
const MAX_CHARACTERS = 1 << 20;

/** A key as one writes it: `data.train[0].path`. */
export function keyText(key: KeyPath): string {
  return key.reduce<string>(
    (text, part) => text + (typeof part === "number" ? `[${part}]` : text === "" ? part : `.${part}`),
    "",
  );
}

/** What stands at a key; undefined where nothing does. */
export function valueAt(root: unknown, key: KeyPath): unknown {
  let value = root;
  for (const part of key) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string | number, unknown>)[part];
  }
  return value;
}

/**
 * @param text - the file's text
 * @param options.sets - `a.b=c` arguments; numbers in the key count list entries from 0 (`data.train.0.path=x.jsonl`)
 * @throws CliError `CONFIG_SYNTAX` with path and line; `FLAG_INVALID` for a broken `--set`
 */
export function readConfigSource(text: string, options: { path: string; sets?: readonly string[] }): ConfigSource {
  const { path, sets = [] } = options;
  if (text.length > MAX_CHARACTERS)
    throw new CliError("CONFIG_SYNTAX", `${path}: a config of ${text.length} characters is not a config`, {
      path,
      received: `${text.length} characters`,
      expected: `at most ${MAX_CHARACTERS}`,
      fix: "check that this path is the YAML config",
    });
  const lines = new LineCounter();
  const document = parseYaml(text, lines, (message, line) => {
    throw new CliError("CONFIG_SYNTAX", `${path}:${line}: ${message}`, {
      path,
      line,
      fix: "correct the YAML at this line",
    });
  });
  let value = plain(document, (message) => {
    throw new CliError("CONFIG_SYNTAX", `${path}: ${message}`, {
      path,
      fix: "write the values out instead of repeating aliases",
    });
  });
  const setKeys: { key: KeyPath; text: string }[] = [];
  for (const set of sets) {
    const { key, value: given } = readSet(set);
    value = withValue(value, key, given, set);
    setKeys.push({ key, text: set });
  }
  return {
    path,
    value,
    at: (key) => key,
    setBy: (key) => setKeys.findLast((set) => set.key.every((part, i) => i >= key.length || part === key[i]))?.text,
    lineOf: (key) => lineOf(document, key, lines),
  };
}

function parseYaml(text: string, lineCounter: LineCounter, fail: (message: string, line: number) => never): Document {
  const document = parseDocument(text, {
    version: "1.2",
    schema: "core",
    uniqueKeys: true,
    strict: true,
    prettyErrors: false,
    lineCounter,
  });
  const [problem] = [...document.errors, ...document.warnings]; // a warning is a tag that would be ignored
  if (problem)
    fail(
      problem.code === "MULTIPLE_DOCS" ? "a second YAML document starts here" : problem.message,
      lineCounter.linePos(problem.pos[0]).line,
    );
  return document;
}

function plain(document: Document, fail: (message: string) => never): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (cause) {
    if (cause instanceof ReferenceError) return fail(cause.message);
    throw cause;
  }
}

function readSet(text: string): { key: KeyPath; value: unknown } {
  const equals = text.indexOf("=");
  const parts = text.slice(0, Math.max(equals, 0)).split(".");
  if (equals < 1 || parts.includes("")) throw badSet(text, "it is not KEY=VALUE");
  const fail = (message: string): never => {
    throw badSet(text, `its value is no YAML: ${message}`);
  };
  const value = plain(parseYaml(text.slice(equals + 1), new LineCounter(), fail), fail);
  return { key: parts.map((part) => (/^\d+$/.test(part) ? Number(part) : part)), value };
}

function badSet(text: string, because: string): CliError {
  return new CliError("FLAG_INVALID", `--set ${text}: ${because}`, {
    received: text,
    expected: "a.b=c",
    fix: "write for example --set train.max_steps=20",
  });
}

/** A copy of `root` with `value` at `key`; missing maps on the way are made, lists grow by one at their end only. */
function withValue(root: unknown, key: KeyPath, value: unknown, text: string): unknown {
  const [part, ...rest] = key;
  if (part === undefined) return value;
  if (Array.isArray(root)) {
    if (typeof part !== "number" || part > root.length)
      throw badSet(text, `the list there has ${root.length} entries, counted from 0`);
    return root.toSpliced(part, 1, withValue(root[part], rest, value, text));
  }
  if (root !== null && root !== undefined && typeof root !== "object")
    throw badSet(text, `the config has a plain value where \`${part}\` should be inside`);
  const copy: Record<string, unknown> = { ...(root as Record<string, unknown> | null | undefined) };
  const inner = Object.hasOwn(copy, String(part)) ? copy[part] : undefined;
  Object.defineProperty(copy, String(part), {
    value: withValue(inner, rest, value, text),
    enumerable: true,
    writable: true,
    configurable: true,
  });
  return copy;
}

function lineOf(document: Document, key: KeyPath, lines: LineCounter): number | undefined {
  let node: unknown = document.contents;
  let found: Node | undefined;
  for (const part of key) {
    if (isMap(node)) {
      const pair = node.items.find((item) => String((item.key as { value?: unknown }).value) === String(part));
      if (!pair) break;
      found = pair.key as Node;
      node = pair.value;
    } else if (isSeq(node) && node.items[Number(part)] !== undefined) {
      node = node.items[Number(part)];
      found = node as Node;
    } else break;
  }
  return found?.range ? lines.linePos(found.range[0]).line : undefined;
}
