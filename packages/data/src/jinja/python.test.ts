import { describe, expect, test } from "vitest";
import { compileTemplate } from "../chat-template/template.ts";

const render = (source: string, content = "x"): string =>
  compileTemplate(source, "test").render({
    messages: [{ role: "user", content }],
    addGenerationPrompt: false,
    now: new Date(0),
  });

// expected: jinja2 3.1.6 with trim_blocks, lstrip_blocks, ImmutableSandboxedEnvironment
test("a text full of spaces takes no quadratic time", () => {
  const started = Date.now();
  expect(
    render("{{ messages[0].content.rstrip() }}{{ messages[0].content|trim }}", `${" ".repeat(200_000)}x`).length,
  ).toBe(200_002);
  expect(Date.now() - started).toBeLessThan(5000);
});

describe("what JavaScript would render differently from Python", () => {
  test.each([
    [
      "a sorted or cut tuple is a list",
      "{{ (2, 1)|sort }} {{ (1, 2)|batch(2)|list }} {{ (1, 2)[:1] }}",
      "[1, 2] [[1, 2]] (1,)",
    ],
    ["namespaces print what they hold", "{{ namespace(a=1, b='x') }}", "<Namespace {'a': 1, 'b': 'x'}>"],
    ["round keeps integers", "{{ 3|round }} {{ 2.5|round }} {{ 3.5|round }} {{ -0.125|round(2) }}", "3 2.0 4.0 -0.12"],
    ["times true", "{{ 'ab' * true }}|{{ [1] * 2 }}", "ab|[1, 1]"],
    ["a format without fields takes a list", "{{ 'x' % [1] }}", "x"],
    [
      "strip with an argument",
      '{{ "\\n  x\\n".lstrip("\\n") }}|{{ "xay".strip("xy") }}|{{ "a--".rstrip("-") }}',
      "  x\n|a|a",
    ],
    ["strip knows Python's white space", '{{ "\ufeff x\u001c".strip() }}', "\ufeff x"],
    ["strip takes a set, with its special characters", '{{ "]^-a-^]".strip("^-]") }}', "a"],
    ["capitalize lowers the rest", '{{ "hELLO".capitalize() }} {{ "éA"|capitalize }}', "Hello Éa"],
    ["str.format", '{{ "<{}:{b}>{{}}".format(1, b="x") }} {{ "{1}{0}".format("a", true) }}', "<1:x>{} Truea"],
    ["printing booleans and none", "{{ true }} {{ none }} {{ 1 == 1 }} {{ undefined_name }}|", "True None True |"],
    [
      "printing lists and dicts",
      `{{ ["a", 1, none, "it's"] }} {{ {"k": true} }}`,
      `['a', 1, None, "it's"] {'k': True}`,
    ],
    ["string filter", '{{ {"k": [1.0, "a\\nb"]}|string }}', "{'k': [1.0, 'a\\nb']}"],
    ["~ joins what str() gives", '{{ "a" ~ true ~ none ~ 1 }}', "aTrueNone1"],
    [
      "== does not coerce",
      '{{ "1" == 1 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ none == undefined_name }}',
      "False True True False",
    ],
    [
      "== compares lists and dicts by content",
      '{{ [1, "a"] == [1, "a"] }} {{ {"a": [1]} == {"a": [1]} }} {{ [1] != [1] }}',
      "True True False",
    ],
    ["in compares by content", '{{ [1] in [[1]] }} {{ "1" in [1] }} {{ "a" not in ["a"] }}', "True False False"],
    ["a string is walked by character", '{% for c in "a🦊" %}[{{ c }}]{% endfor %}', "[a][🦊]"],
    [
      "length and index count code points",
      '{{ "🦊a"|length }} {{ "🦊a"[1] }} {{ "a🦊"[0] }} {{ "🦊"[5] }}|',
      "2 a a |",
    ],
    ["trim of undefined", "<{{ messages[0].name|trim }}>", "<>"],
    [
      "undefined is an empty sequence",
      "{{ nothing|length }}{{ nothing|list }}{% for x in nothing %}!{% endfor %}{% for x in messages[0].nothing if x %}!{% endfor %}|",
      "0[]|",
    ],
    ["min and max", "{{ [3, 1, 2]|min }} {{ [3, 1, 2]|max }} {{ ['b', 'a']|min }}", "1 3 a"],
    [
      "selectattr of none and of a string",
      '{{ none|selectattr("a")|list|length }}{{ "ab"|selectattr("a", "equalto", 1)|list|length }}',
      "00",
    ],
    [
      "integer keys",
      "{% set d = {10: 'a', 9: 'b'} %}{{ d[9] }}{% for k, v in d|dictsort %} {{ k + 1 }}{{ v }}{% endfor %}{% for k in d %} {{ k + 1 }}{% endfor %}",
      "b 10b 11a 11 10",
    ],
    ["+ escapes beside markup", `{{ '"<' + ("a&b"|safe) + "'" }}`, "&#34;&lt;a&b&#39;"],
    ["~ does not escape beside markup", `{{ '"' ~ ("a&b"|safe) }}`, '"a&b'],
    ["CRLF in a template is LF", "a\r\nb\r\n", "a\nb"],
  ])("%s", (_, source, expected) => expect(render(source)).toBe(expected));

  test.each([
    ["a string and a number are not added", '{{ "a" + 1 }}'],
    ["a string and a dict are not added", '{{ "a" + {} }}'],
    ["an undefined value has no attribute", "{{ messages[0].name.first }}"],
    ["an undefined value has no element", "{{ messages[5]['role'] }}"],
    ["a generator is not JSON", "{{ messages|map(attribute='role')|tojson }}"],
    ["format without a value", '{{ "{}".format() }}'],
    ["min of mixed types", '{{ [1, "a"]|min }}'],
  ])("%s, and that is an error", (_, source) => {
    expect(() => render(source)).toThrow(expect.objectContaining({ code: "TEMPLATE_FAILED" }));
  });
});
