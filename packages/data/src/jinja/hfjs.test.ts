// The golden files of huggingface.js' own engine. Its unit cases expect what JavaScript prints; where jinja2 prints
// something else, we print what jinja2 prints, and the difference is listed.

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { strftime } from "../chat-template/strftime.ts";
import { Budget, DEFAULT_LIMITS } from "./budget.ts";
import { globals } from "./globals.ts";
import { interpret } from "./interpreter.ts";
import { parse } from "./parser.ts";
import { Float, type Value } from "./values.ts";

const folder = new URL("../../../../../shared/fixtures/templates/", import.meta.url);
const there = existsSync(folder);
if (!there) console.log(`skipped: huggingface.js' golden files, because ${fileURLToPath(folder)} is absent`);
const read = <T>(name: string): T => (there ? JSON.parse(readFileSync(new URL(name, folder), "utf8")) : []) as T;

function valueOf(json: unknown): Value {
  if (typeof json === "number") return Number.isInteger(json) ? json : new Float(json);
  if (Array.isArray(json)) return json.map(valueOf);
  if (typeof json !== "object" || json === null) return json as Value;
  return new Map(Object.entries(json).map(([key, item]) => [key, valueOf(item)]));
}
function render(source: string, context: object): string {
  const budget = new Budget(DEFAULT_LIMITS);
  const variables = globals(budget, (format) => strftime(new Date("2025-07-10T12:00:00Z"), format));
  for (const [name, value] of Object.entries(context)) variables.set(name, valueOf(value));
  return interpret(parse(source, DEFAULT_LIMITS), variables, budget, ["", ""]);
}

type Unit = { name: string; template: string; context: object; expected: string };

/** `{{ true }}` is True, lists and strings in them have Python's quotes. */
const asPython = (text: string): string =>
  text
    .replaceAll("true", "True")
    .replaceAll("false", "False")
    .replaceAll("null", "None")
    .replaceAll("undefined", "Undefined")
    .replace(/(?<!\\)"/g, "'")
    .replaceAll('\\"', '"');

/** What jinja2 3.1.6 makes of the cases where neither its text nor that text in Python's spelling is expected. */
const JINJA2: Readonly<Record<string, string | RegExp>> = {
  // a string and a number cannot be added
  FOR_LOOP_UNPACKING: /unsupported operand/,
  FOR_LOOP_OBJECTS: /unsupported operand/,
  OBJECT_OPERATORS_2: /unsupported operand/,
  MACROS_2: /unsupported operand/,
  // 1 == true and 0 == false
  MEMBERSHIP: "|True|True|True|True|True|False|",
  MEMBERSHIP_NEGATION_1: "|False|False|False|False|False|True|",
  MEMBERSHIP_NEGATION_2: "|False|False|False|False|False|True|",
  // what `selectattr` and `items` give can be walked once and has no length
  FILTER_OPERATOR_4: /'generator' has no len/,
  FILTER_OPERATOR_5: /'generator' has no len/,
  FILTER_OPERATOR_6: /'generator' object is not subscriptable/,
  FILTER_OPERATOR_11: /'generator' has no len/,
  FILTER_OPERATOR_12: /'generator' has no len/,
  // `null` is a variable that is not there
  FILTER_OPERATOR_7: /Undefined is not JSON serializable/,
};

describe.skipIf(!there)("huggingface.js", () => {
  const unit = read<Unit[]>("hfjs_jinja_unit_golden.json");
  test("157 unit cases", () => {
    const counts = { same: 0, spelling: 0, jinja2: 0 };
    for (const { name, template, context, expected } of unit) {
      const listed = JINJA2[name];
      if (listed instanceof RegExp) {
        expect(() => render(template, context), name).toThrow(listed);
        counts.jinja2++;
        continue;
      }
      const text = render(template, context);
      if (listed !== undefined) {
        expect([name, text]).toEqual([name, listed]);
        counts.jinja2++;
      } else if (text === expected) counts.same++;
      else {
        expect([name, text]).toEqual([name, asPython(expected)]);
        counts.spelling++;
      }
    }
    expect(counts).toEqual({ same: 99, spelling: 45, jinja2: 13 });
  });

  const conversations =
    read<{ name: string; chat_template: string; data: object; target: string }[]>("hfjs_e2e_golden.json");
  test.each(conversations.map((entry) => [entry.name, entry] as const))("conversation %s", (_, entry) => {
    // one template prints its tools with `tools|string`
    const expected = entry.target.replace(/(?<=\[BEGIN OF AVAILABLE_TOOLS\]\n)\[\{.*\}\](?=\n\[END)/s, (tools) =>
      entry.chat_template.includes("tools|string") ? asPython(tools) : tools,
    );
    expect(render(entry.chat_template, entry.data)).toBe(expected);
  });
  test("the golden files are those this was written for", () => {
    expect([unit.length, conversations.length]).toEqual([157, 53]);
  });
});
