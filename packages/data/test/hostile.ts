// Templates that mean harm, drawn from a grammar: the same seed gives the same template.

/** What each class tries. */
export const HOSTILE_CLASSES = [
  "nested_loops",
  "huge_ranges",
  "string_doubling",
  "list_doubling",
  "recursion",
  "replace_and_join",
  "padding",
  "long_source",
  "deep_nesting",
  "escapes",
  "slow_searches",
  "shared_structure",
] as const;
export type HostileClass = (typeof HOSTILE_CLASSES)[number];

interface Draw {
  int(from: number, to: number): number;
  pick<T>(...options: readonly T[]): T;
}

/** mulberry32 */
function drawer(seed: number): Draw {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (from: number, to: number): number => from + Math.floor(next() * (to - from + 1));
  return { int, pick: (...options) => options[int(0, options.length - 1)]! };
}

const repeat = (text: string, times: number): string => text.repeat(times);
const loop = (times: number | string, body: string): string => `{% for i in range(${times}) %}${body}{% endfor %}`;
/** `x` becomes a long text first. */
const longText = (d: Draw): string =>
  `{% set x = '${d.pick("a", "ab", "a ", "é", "🦊")}' * ${d.int(100_000, 500_000)} %}`;

const GRAMMAR: { readonly [C in HostileClass]: (d: Draw) => string } = {
  nested_loops: (d) => {
    const depth = d.int(3, 12);
    const body = d.pick(
      "{{ i }}",
      "{% set y = i %}",
      "",
      "{{ messages|length }}",
      "{% if i == 3 %}{% continue %}{% endif %}",
    );
    let out = body;
    for (let k = 0; k < depth; k++) out = loop(d.int(1000, 90_000), out);
    return out;
  },
  huge_ranges: (d) => {
    const n = d.pick("1000000000", "99999", "10**9", "100000", "9007199254740991", "2**52");
    return d.pick(
      loop(n, `{{ range(${n}) }}{{ range(${n})|sum }}`),
      `{% for i in range(${n}) %}{{ range(99999)|list|length }}{% endfor %}`,
      `{{ range(0 - ${n}, ${n}, 1)|list }}`,
      `{% set a = range(99999)|list + range(99999)|list + range(99999)|list %}{{ a|map('string')|join }}`,
      `{% set ns = namespace(a=[]) %}${loop(99999, "{% set ns.a = ns.a + [range(99999)|list] %}")}`,
    );
  },
  string_doubling: (d) => {
    const double = d.pick(
      "ns.x + ns.x",
      "ns.x ~ ns.x",
      "[ns.x, ns.x]|join",
      "'%s%s' % (ns.x, ns.x)",
      "'{0}{0}'.format(ns.x)",
      "ns.x * 2",
      "ns.x|replace('', 'b')",
    );
    const block = d.pick(
      `{% set ns.x = ${double} %}`,
      "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}",
      "{% set ns.x = (ns.x|e) + (ns.x|e) %}",
    );
    return `{% set ns = namespace(x='${d.pick("a", "<", "🦊", "é")}') %}${loop(d.int(40, 5000), block)}{{ ns.x }}`;
  },
  list_doubling: (d) => {
    const double = d.pick(
      "ns.x + ns.x",
      "ns.x * 2",
      "(ns.x + ns.x)|list",
      "(ns.x * 3)[1:]",
      "ns.x + ns.x|reverse|list",
    );
    return `{% set ns = namespace(x=[1]) %}${loop(d.int(40, 5000), `{% set ns.x = ${double} %}`)}{{ ns.x|length }}`;
  },
  recursion: (d) =>
    d
      .pick(
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{% macro f(n) %}{{ g(n) }}{% endmacro %}{% macro g(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(0) }}",
        "{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}",
        "{% macro f(x=f()) %}{{ x }}{% endmacro %}{{ f() }}",
        "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
        "{% set ns = namespace() %}{% macro f() %}{{ ns.f() }}{% endmacro %}{% set ns.f = f %}{{ ns.f() }}",
      )
      .replace("60", String(d.int(25, 90))),
  replace_and_join: (d) => {
    const n = d.int(50_000, 400_000);
    return d.pick(
      `${longText(d)}{{ x|replace('', x) }}`,
      `${longText(d)}{{ x.replace('a', x).replace('', x) }}{{ x|replace('🦊', x) }}{{ x|replace('é', x) }}`,
      `{% set x = 'a' * ${n} %}{{ x.join(x) }}`,
      `{% set x = 'a' * ${n} %}{{ range(9999)|join(x) }}`,
      `{% set x = 'ab' * ${n} %}${loop(d.int(100, 9999), "{{ x.split('b')|join('cc') }}")}`,
      `{% set x = '<' * ${n} %}${loop(d.int(20, 999), "{{ x|e }}")}`,
      `{% set x = '\\t' * ${n} %}{{ x.expandtabs(${d.int(1000, 1e6)}) }}`,
    );
  },
  padding: (d) => {
    const n = d.pick(1e7, 1e9, 2 ** 31, 2 ** 40, 9e15);
    return d.pick(
      `{{ 'a'|center(${n}) }}`,
      `{{ 'a'.ljust(${n}) }}{{ 'a'.rjust(${n}) }}`,
      `{{ 'a'.zfill(${n}) }}`,
      `{{ 'a' * ${n} }}`,
      `{{ [0] * ${n} }}`,
      `{% set x = 'a\\n' * 200000 %}{{ x|indent(${n}) }}`,
      `{% set x = 'a\\n' * 300000 %}${loop(d.int(30, 900), "{% set y = x|indent(999) %}{{ y }}")}`,
      loop(99999, `{{ '%65000d' % i }}`),
      loop(99999, `{{ '{:65000}'.format(i) }}`),
      loop(d.int(2000, 99999), `{{ 'a'|center(${d.int(20_000, 60_000)}) }}`),
      `{% set ns = namespace(x=[]) %}${loop(999, "{% set ns.x = [ns.x] %}")}{{ ns.x|tojson(indent=1000) }}`,
    );
  },
  long_source: (d) => {
    const n = d.int(30_000, 120_000);
    return d.pick(
      repeat("{{ a }}", n),
      `{{ 1${repeat(" + 1", n)} }}`,
      `{{ [${repeat("1,", n)}] }}`,
      repeat("{% if a %}", n),
      `{{ ${"9".repeat(3 * n)} }}`,
      `{{ '${"a".repeat(3 * n)}' }}`.repeat(2),
      `{#${"{#".repeat(2 * n)}`,
      `{{ a${repeat("|upper", n)} }}`,
      `{{ a${repeat(".b", n)} }}`,
      `{{ ${repeat("1_", 2 * n)} }}`,
      repeat("{%      ", Math.floor(n / 2)),
    );
  },
  deep_nesting: (d) => {
    const n = d.int(200, 20_000);
    return d.pick(
      `{{ ${repeat("(", n)}1${repeat(")", n)} }}`,
      `{{ ${repeat("[", n)}${repeat("]", n)} }}`,
      `{{ ${repeat("{1:", n)}1${repeat("}", n)} }}`,
      `{{ ${repeat("not ", n)}1 }}`,
      `{{ ${repeat("-", n)}1 }}`,
      `{{ ${repeat("a[", n)}1${repeat("]", n)} }}`,
      `{{ ${repeat("range(", n)}1${repeat(")", n)} }}`,
      repeat("{% if true %}", Math.min(n, 15_000)) + repeat("{% endif %}", Math.min(n, 8000)),
      `{{ ${repeat("1 if 1 else ", n)}1 }}`,
      `{% for ${repeat("(", n)}a${repeat(")", n)} in b %}{% endfor %}`,
      `{{ 1${repeat(" ~ 1", 400)}${repeat(" + 1", n)} }}`,
    );
  },
  escapes: (d) => {
    const start = d.pick(
      "''",
      "messages",
      "messages[0]",
      "range",
      "namespace()",
      "raise_exception",
      "loop",
      "(1).real",
      "[]",
      "{}",
      "none",
      "undefined_name",
    );
    const step = d.pick(
      "__class__",
      "constructor",
      "__proto__",
      "prototype",
      "__globals__",
      "__init__",
      "_module",
      "mro",
      "call",
      "caller",
      "__subclasses__",
    );
    const end = d.pick(
      "constructor('return process')()",
      "__globals__['os']",
      "__subclasses__()",
      "constructor.constructor('return this')()",
      "valueOf()",
      "toString()",
    );
    const bomb = loop(90_000, loop(90_000, "{{ 1 }}"));
    return d.pick(
      `{{ ${start}.${step}.${end} }}`,
      `{{ ${start}['${step}'].${end} }}`,
      `{{ (${start}|attr('${step}')).${end} }}`,
      `{% set x = ${start}.${step} %}{{ x }}{% if not x %}${bomb}{% endif %}{{ x.${end} }}`,
      `{{ [${start}]|map(attribute='${step}.${step}')|list }}${bomb}`,
      `{{ '{0.${step}}'.format(${start}) }}`,
      `{{ messages.append(1) }}`,
      `{{ messages[0].update({'role': 1}) }}`,
      `{% set messages.${step} = 1 %}`,
      `{{ messages|sort(attribute='${step}.${step}') }}${bomb}`,
    );
  },
  slow_searches: (d) => {
    const body = d.pick(
      "{{ x.split('a')|length }}",
      "{{ x.find('b') }}",
      "{{ x.count('aab') }}",
      "{{ 'b' in x }}",
      "{{ x|length }}",
      "{{ x.strip('a') }}",
      "{{ x|wordwrap(3) }}",
      "{{ x|striptags }}",
      "{{ x|wordcount }}",
      "{{ x.splitlines() }}",
      "{{ x|truncate(9) }}",
      "{{ x[::-1] }}",
      "{{ x|urlencode }}",
      "{{ x == x ~ '' }}",
      "{{ x.isalpha() }}",
      "{{ x|title }}",
    );
    return d.pick(
      `${longText(d)}${loop(99999, body)}`,
      `{% set x = 'a' * 500000 %}{% set y = 'a' * 250000 ~ 'b' ~ 'a' * 200000 %}${loop(999, "{{ y in x }}{{ x.find(y) }}{{ x.split(y) }}")}`,
      `{{ (range(99999)|list + range(99999)|list)|unique|list }}`,
      `{% set x = range(60000)|list %}${loop(9999, "{{ i in x }}{{ x|sort(reverse=true)|first }}{{ x|max }}")}`,
      `{{ range(9999)|map('string')|groupby(0)|length }}${loop(9999, "{{ range(9999)|batch(3)|list|length }}{{ range(999)|slice(99999)|list }}")}`,
    );
  },
  shared_structure: (d) => {
    const share = d.pick(
      "[ns.x, ns.x]",
      "(ns.x, ns.x)",
      "{'a': ns.x, 'b': ns.x}",
      "[[ns.x], [ns.x]]",
      "{'k': [ns.x, ns.x]}",
    );
    const use = d.pick(
      "{{ ns.x }}",
      "{{ ns.x|tojson }}",
      "{{ ns.x|string|length }}",
      "{{ ns.x == ns.y }}",
      "{{ ns.x in [ns.y] }}",
      "{{ [ns.x, ns.y]|unique|list }}",
      "{{ ns.x ~ '' }}",
      "{{ '%s' % (ns.x,) }}",
    );
    const step = `{% set ns.x = ${share} %}{% set ns.y = ${share.replaceAll("x", "y")} %}`;
    return `{% set ns = namespace(x=[1], y=[1]) %}${loop(d.int(30, 900), step)}${use}{{ ns.x }}`;
  },
};

/** The template of one class and seed. */
export function hostileTemplate(kind: HostileClass, seed: number): string {
  return GRAMMAR[kind](drawer(seed * 2654435761 + HOSTILE_CLASSES.indexOf(kind)));
}
