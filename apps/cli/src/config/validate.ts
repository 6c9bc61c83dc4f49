// The schema's verdict in the words of our errors: which key, what was there, what should be, the nearest right name.

import { nearest } from "@tunesmith/core";
import type { z } from "zod";
import { reservedKey } from "./not-supported.ts";
import type { Problem } from "./problem.ts";
import { configJsonSchema, configSchema } from "./schema.ts";
import type { Config } from "./schema.ts";
import { keyText, valueAt } from "./source.ts";
import type { KeyPath } from "./source.ts";

/** The part of JSON Schema that zod writes for our config. */
interface SchemaNode {
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: SchemaNode | false;
  readonly items?: SchemaNode;
  readonly prefixItems?: readonly SchemaNode[];
  readonly anyOf?: readonly SchemaNode[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly type?: string;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly minItems?: number;
}

/** The parsed config with the schema's defaults, or everything that is wrong with it. */
export function validate(value: unknown): { config: Config } | { problems: readonly [Problem, ...Problem[]] } {
  const result = configSchema.safeParse(value);
  if (result.success) return { config: result.data };
  const problems = result.error.issues.flatMap((issue) => problemsOf(issue, value));
  return { problems: problems as [Problem, ...Problem[]] };
}

/** What a schema found, in words; `root` is what it was given. */
export function problemsOf(issue: z.core.$ZodIssue, root: unknown): Problem[] {
  const key = issue.path.filter((part) => typeof part !== "symbol");
  if (issue.code === "unrecognized_keys") return issue.keys.map((name) => unknownKey([...key, name]));
  const received = valueAt(root, key);
  const expected = describe(nodeAt(key));
  if (received === undefined) {
    return [
      {
        code: "CONFIG_KEY_MISSING",
        key,
        message: "is missing",
        expected,
        fix: `write ${keyText(key)} in the config or give --set ${keyText(key)}=…`,
      },
    ];
  }
  const shown = JSON.stringify(received) ?? String(received);
  const text = shown.length > 60 ? `${shown.slice(0, 57)}…` : shown;
  const options = nodeAt(key)?.enum;
  const near = typeof received === "string" && options ? nearest(received, options.map(String)) : undefined;
  return [
    {
      code: "CONFIG_VALUE_INVALID",
      key,
      message: `is ${text}, expected ${expected}`,
      expected,
      received: text,
      fix: near === undefined ? `write ${expected}` : `did you mean ${near}?`,
    },
  ];
}

function unknownKey(key: KeyPath): Problem {
  const reserved = reservedKey(key);
  if (reserved) return reserved;
  const name = String(key.at(-1));
  const siblings = Object.keys(nodeAt(key.slice(0, -1))?.properties ?? {});
  const parent = key.length === 1 ? "the config" : `\`${keyText(key.slice(0, -1))}\``;
  // the right name in the wrong place is the commonest slip: `learning_rate` at the top
  const elsewhere = homesOf(name).filter((home) => home !== keyText(key));
  const near = nearest(name, siblings);
  return {
    code: "CONFIG_KEY_UNKNOWN",
    key,
    message: `is not a key of ${parent}`,
    received: name,
    expected: siblings.join(", "),
    fix:
      elsewhere.length > 0
        ? `did you mean ${elsewhere.join(" or ")}?`
        : near === undefined
          ? `remove it; the keys here are ${siblings.join(", ")}`
          : `did you mean ${near}?`,
  };
}

let cachedRoot: SchemaNode | undefined;
function schemaRoot(): SchemaNode {
  return (cachedRoot ??= configJsonSchema() as SchemaNode);
}

function nodeAt(key: KeyPath): SchemaNode | undefined {
  let node: SchemaNode | undefined = schemaRoot();
  for (const part of key) {
    const inside: SchemaNode | undefined =
      node?.anyOf?.find((n) => (typeof part === "number" ? n.items : n.properties)) ?? node;
    const named: SchemaNode | undefined =
      inside?.properties && Object.hasOwn(inside.properties, part) ? inside.properties[part] : undefined;
    node =
      typeof part === "number"
        ? (inside?.prefixItems?.[part] ?? inside?.items)
        : (named ?? (inside?.additionalProperties || undefined));
  }
  return node;
}

/** Where in the config a key of this name exists. */
function homesOf(name: string): string[] {
  const homes: string[] = [];
  const walk = (node: SchemaNode, path: KeyPath): void => {
    for (const [key, inner] of Object.entries(node.properties ?? {})) {
      if (key === name) homes.push(keyText([...path, key]));
      walk(inner, [...path, key]);
    }
    if (node.items) walk(node.items, [...path, 0]);
  };
  walk(schemaRoot(), []);
  return homes;
}

/** A schema node in words: `an integer ≥ 1`, `lora | qlora | full | freeze`. */
function describe(node: SchemaNode | undefined): string {
  if (!node) return "another value";
  if (node.anyOf) return node.anyOf.map(describe).join(", or ");
  if (node.enum) return node.enum.map(String).join(" | ");
  if (node.const !== undefined) return String(node.const);
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = node;
  const range = [
    exclusiveMinimum === undefined ? "" : `> ${exclusiveMinimum}`,
    minimum === undefined || minimum === Number.MIN_SAFE_INTEGER ? "" : `≥ ${minimum}`,
    exclusiveMaximum === undefined ? "" : `< ${exclusiveMaximum}`,
    maximum === undefined || maximum === Number.MAX_SAFE_INTEGER ? "" : `≤ ${maximum}`,
  ].filter(Boolean);
  const bounds = range.length === 0 ? "" : ` ${range.join(" and ")}`;
  switch (node.type) {
    case "integer":
      return `an integer${bounds}`;
    case "number":
      return `a number${bounds}`;
    case "string":
      return "a non-empty text";
    case "boolean":
      return "true or false";
    case "null":
      return "null";
    case "array":
      if (node.prefixItems) return `a list of ${node.prefixItems.length} values, each ${describe(node.prefixItems[0])}`;
      return `a list${node.minItems ? " with at least one entry" : ""}, each ${describe(node.items)}`;
    default:
      return `a map with the keys ${Object.keys(node.properties ?? {}).join(", ")}`;
  }
}
