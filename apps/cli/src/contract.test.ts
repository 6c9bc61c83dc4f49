// docs/cli.md, docs/config.schema.json, the help texts and the code say the same.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { runCli } from "../../../tests/support/cli.ts";
import { COMMANDS, LATER_COMMANDS } from "./commands.ts";
import type { Command } from "./commands.ts";
import { RESERVED_KEYS, SUPPORTED_VALUES } from "./config/not-supported.ts";
import { configJsonSchema } from "./config/schema.ts";
import { COMMON_FLAGS, FLAGS } from "./flags.ts";

const contract = readFileSync(new URL("../../../docs/cli.md", import.meta.url), "utf8");
const commandBlock = /## Commands\n[^]*?\n\n((?: {4}.*\n)+)/.exec(contract)![1]!;
const configBlock = /```yaml\n([^]*?)```/.exec(contract)![1]!;

/** Command → the flags its lines of the contract name. */
const documented = new Map<string, Set<string>>();
let current = "";
for (const line of commandBlock.split("\n")) {
  current = /^ {4}([\w-]+)/.exec(line)?.[1] ?? current;
  const flags = [...line.matchAll(/--([a-z-]+)/g)].map((match) => match[1]!);
  if (current !== "") documented.set(current, new Set([...(documented.get(current) ?? []), ...flags]));
}

describe("commands", () => {
  test("are those of docs/cli.md, the ones of later versions included", () => {
    expect([...Object.keys(COMMANDS), ...LATER_COMMANDS].toSorted()).toEqual([...documented.keys()].toSorted());
  });
  test.each(Object.entries(COMMANDS as Record<string, Command>))("%s has the flags of docs/cli.md", (name, command) => {
    const common = COMMON_FLAGS as readonly string[];
    expect([...command.flags].toSorted()).toEqual(
      [...documented.get(name)!].filter((flag) => !common.includes(flag)).toSorted(),
    );
  });
  test.each(Object.entries(COMMANDS as Record<string, Command>))(
    "%s --help names each of its flags, as does its usage",
    async (name, command) => {
      const { stdout } = await runCli([name, "--help"]);
      for (const flag of [...command.flags, ...COMMON_FLAGS])
        expect(stdout).toMatch(new RegExp(`^ {2}--${flag}\\b`, "m"));
      for (const flag of command.flags) expect(command.usage.join("\n")).toContain(`--${flag}`);
      for (const word of command.usage.join(" ").matchAll(/--([a-z-]+)/g)) expect(command.flags).toContain(word[1]);
    },
  );
  test("every flag of the table belongs to a command, common ones are in the contract", () => {
    const used = new Set<string>([
      "version",
      ...COMMON_FLAGS,
      ...Object.values(COMMANDS as Record<string, Command>).flatMap((c) => c.flags),
    ]);
    const later = new Set(LATER_COMMANDS.flatMap((name) => [...documented.get(name)!]));
    expect(Object.keys(FLAGS).filter((flag) => !used.has(flag) && !later.has(flag))).toEqual([]);
    for (const flag of COMMON_FLAGS) expect(contract).toContain(`--${flag}`);
  });
  test("a command of a later version says so", async () => {
    for (const name of LATER_COMMANDS) {
      const result = await runCli([name, "x", "--json"]);
      expect([name, result.exitCode, result.document().error.code]).toEqual([name, 2, "NOT_SUPPORTED"]);
    }
  });
});

interface Node {
  properties?: Record<string, Node>;
  items?: Node;
  anyOf?: Node[];
  default?: unknown;
  additionalProperties?: Node | false;
}

/** Leaf keys of the schema with their defaults: `train.batch_size` → 8; entries of lists under `[]`. */
function schemaKeys(node: Node, path: string, keys: Map<string, unknown>): Map<string, unknown> {
  for (const [name, inner] of Object.entries(node.properties ?? {}))
    schemaKeys(inner, path === "" ? name : `${path}.${name}`, keys);
  if (node.items?.properties) schemaKeys(node.items, `${path}[]`, keys);
  else if (node.additionalProperties && node.additionalProperties.properties)
    schemaKeys(node.additionalProperties, `${path}.*`, keys);
  else if (!node.properties) keys.set(path, node.default);
  return keys;
}

/** Leaf keys of the example with their values. */
function exampleKeys(value: unknown, path: string, keys: Map<string, unknown>): Map<string, unknown> {
  const isMap = typeof value === "object" && value !== null && !Array.isArray(value);
  if (Array.isArray(value) && typeof value[0] === "object") exampleKeys(value[0], `${path}[]`, keys);
  else if (isMap)
    for (const [name, inner] of Object.entries(value))
      exampleKeys(inner, path === "" ? name : `${path}.${path === "data.tasks" ? "*" : name}`, keys);
  else keys.set(path, value);
  return keys;
}

describe("config", () => {
  const schema = schemaKeys(configJsonSchema() as Node, "", new Map());
  const example = exampleKeys(parse(configBlock), "", new Map());

  test("every key of the example is in the schema", () => {
    expect([...example.keys()].filter((key) => !schema.has(key))).toEqual([]);
  });
  test("every key of the schema is in the example or in one of its comments", () => {
    const comments = [...configBlock.matchAll(/#.*/g)].join("\n");
    const missing = [...schema.keys()].filter(
      (key) => !example.has(key) && !new RegExp(`\\b${key.split(".").at(-1)}\\b`).test(comments),
    );
    expect(missing.filter((key) => !/^(data\.(eval|test)|probe\.sets|regularize\.replay)\[\]/.test(key))).toEqual([]); // entries as in data.train
  });
  test("the example shows each key's default", () => {
    const shown = [...example].filter(([key]) => schema.get(key) !== undefined);
    expect(shown.length).toBeGreaterThan(20);
    expect(shown).toEqual(shown.map(([key]) => [key, schema.get(key)]));
  });
  test("keys with a value that is no default are those that have none", () => {
    const shown = [...example.keys()].filter(
      (key) => schema.get(key) === undefined && !key.includes("[]") && !key.includes("*"),
    );
    expect(shown.toSorted()).toEqual([
      "model",
      "output",
      "train.betas",
      "train.epochs",
      "train.learning_rate",
      "train.warmup_ratio",
    ]);
  });
  test("docs/config.schema.json is the one that scripts/config-schema.mjs writes", () => {
    const file = readFileSync(new URL("../../../docs/config.schema.json", import.meta.url), "utf8");
    expect(file).toBe(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
  });
  test("reserved keys are those of the contract, and none is in the schema", () => {
    const reserved = /# reserved[^]*/.exec(configBlock)![0].replaceAll(/\{[^}]*\}|\[[^\]]*\]/g, "");
    for (const key of RESERVED_KEYS) {
      expect(reserved).toMatch(new RegExp(`\\b${key}\\b`));
      const used = [...schema.keys()].filter((name) => name.split(".").includes(key));
      expect(used).toEqual([]);
    }
  });
  test("what is refused by value exists, and the default is never refused", () => {
    for (const [key, supported] of Object.entries(SUPPORTED_VALUES)) {
      expect([...schema.keys()]).toContain(key);
      expect(supported).toContain(schema.get(key));
    }
  });
});
