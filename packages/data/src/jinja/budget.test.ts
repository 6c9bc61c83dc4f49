import { describe, expect, test } from "vitest";
import { Budget, DEFAULT_LIMITS, LimitExceeded, type Limits, limitsFor } from "./budget.ts";
import { globals } from "./globals.ts";
import { interpret } from "./interpreter.ts";
import { parse } from "./parser.ts";

function run(source: string, limits: Partial<Limits> = {}): { text: string; budget: Budget } {
  const all = { ...DEFAULT_LIMITS, ...limits };
  const budget = new Budget(all);
  return { text: interpret(parse(source, all), globals(budget, String), budget, ["", ""]), budget };
}
const met = (limit: keyof Limits): unknown => expect.objectContaining({ limit });

describe("every limit", () => {
  test.each<[keyof Limits, number, string, string]>([
    ["fuel", 200, "{% for i in range(4) %}{{ i }}{% endfor %}", "{% for i in range(40) %}{{ i }}{% endfor %}"],
    ["depth", 20, "{{ [[1]] }}", "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}"],
    ["stringLength", 50, "{{ 'a' * 50 }}", "{{ 'a' * 51 }}"],
    ["stringLength", 50, "{{ 'a' * 25 }}{{ 'a' * 25 }}", "{{ 'a' * 25 }}{{ 'a' * 26 }}"],
    ["totalLength", 50, "{% set x = 'a' * 50 %}", "{% set x = 'a' * 25 %}{% set x = 'a' * 26 %}"],
    ["totalItems", 30, "{{ range(30)|length }}", "{{ range(31)|length }}"],
    ["sourceLength", 10, "{{ 1 + 1 }}", " {{ 1 + 1 }}"],
    ["sourceDepth", 8, "{{ ((1)) }}", "{{ ((((((((1)))))))) }}"],
  ])("%s of %i: %s within, %s beyond", (limit, allowed, within, beyond) => {
    expect(() => run(within, { [limit]: limit === "sourceLength" ? 11 : allowed })).not.toThrow();
    expect(() => run(beyond, { [limit]: limit === "sourceLength" ? 11 : allowed })).toThrow(met(limit));
  });
});

// each would take the machine down if it were done before it is paid for
test.each([
  "{{ 'a' * 9007199254740991 }}",
  "{{ [0] * 9007199254740991 }}",
  "{{ 'a'|center(9007199254740991) }}",
  "{{ 'a'.ljust(10**15) }}",
  "{{ '%9s' % 'a' * 10**12 }}",
  "{{ ('a' * 999999).replace('a', 'b' * 999999) }}",
  "{{ ('a' * 999999).join('b' * 999) }}",
  "{{ ('\\t' * 9999).expandtabs(10**9) }}",
  "{% set ns = namespace(x=[1]) %}{% for i in range(64) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
  "{% set ns = namespace(x=[1]) %}{% for i in range(64) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|tojson }}",
  "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(64) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
])("%s", (source) => {
  expect(() => run(source)).toThrow(LimitExceeded);
});

test("limits grow with what is put in, not with the template", () => {
  const grown = limitsFor(1e6);
  expect(grown.fuel).toBe(DEFAULT_LIMITS.fuel + 8e6);
  expect(grown.stringLength).toBeGreaterThan(8e6);
  expect([grown.depth, grown.sourceLength, grown.sourceDepth]).toEqual([
    DEFAULT_LIMITS.depth,
    DEFAULT_LIMITS.sourceLength,
    DEFAULT_LIMITS.sourceDepth,
  ]);
});

test("what was spent is told", () => {
  const { budget } = run("{% for i in range(3) %}{{ [i, 'ab' * 3] }}{% endfor %}");
  expect(budget.spent()).toMatchObject({ items: 3 + 3 * 2 });
  expect(budget.spent().length).toBeGreaterThan(18);
  expect(budget.spent().depth).toBeGreaterThan(2);
});
