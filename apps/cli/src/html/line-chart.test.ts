import { describe, expect, test } from "vitest";
import { type LineChart, lineChart } from "./line-chart.ts";
import { htmlPage, htmlTable } from "./page.ts";

const chart = (change: Partial<LineChart>): string =>
  lineChart({ title: "t", x: "x", y: "y", curves: [{ name: "a", points: [[0, 0], [10, 1]] }], ...change }); // prettier-ignore
/** Points of each line drawn, in pixels. */
const linesOf = (svg: string): number[][][] =>
  [...svg.matchAll(/<polyline[^>]*points="([^"]*)"/g)].map(([, points]) =>
    points!.split(" ").map((pair) => pair.split(",").map(Number)),
  );

describe("a chart", () => {
  test("places points by its axes", () => {
    const svg = chart({ curves: [{ name: "a", points: [[0, 0], [5, 0.5], [10, 1]] }] }); // prettier-ignore
    expect(linesOf(svg)).toEqual([[[56, 240], [340, 126], [624, 12]]]); // prettier-ignore
    for (const tick of ["0", "2", "10", "0.2", "1"]) expect(svg).toContain(`>${tick}</text>`);
  });
  test("a logarithmic axis has powers of ten at equal distances", () => {
    const svg = chart({ logX: true, curves: [{ name: "a", points: [[1e-4, 1], [1e-3, 2], [1e-2, 3]] }] }); // prettier-ignore
    const [[first, middle, last]] = linesOf(svg) as [number[][]];
    expect(middle![0]! - first![0]!).toBeCloseTo(last![0]! - middle![0]!, 1);
    for (const tick of ["1e-4", "0.001", "0.01"]) expect(svg).toContain(`>${tick}</text>`);
  });
  test("what is not finite leaves a gap", () => {
    const points = [[0, 1], [1, NaN], [2, 3], [3, Infinity], [4, 2]] as const; // prettier-ignore
    const svg = chart({ curves: [{ name: "a", points }] });
    expect(linesOf(svg).map((line) => line.length)).toEqual([1, 1, 1]);
    expect(svg).not.toMatch(/NaN|Infinity/);
  });
  test.each<[string, LineChart["curves"]]>([
    ["one point", [{ name: "a", points: [[3, 7]] }]],
    ["equal values", [{ name: "a", points: [[1, 7], [2, 7]] }]], // prettier-ignore
    ["zeros", [{ name: "a", points: [[0, 0]] }]],
    ["no points", [{ name: "a", points: [] }]],
  ])("%s: no division by nothing", (_, curves) => expect(chart({ curves })).not.toMatch(/NaN|Infinity/));
  test("of a million points it draws what can be seen, the last among them", () => {
    const points = Array.from({ length: 1_000_000 }, (_, i) => [i, i % 7] as const);
    const [line] = linesOf(chart({ curves: [{ name: "a", points }] }));
    expect(line!.length).toBeLessThanOrEqual(1202);
    expect(line!.at(-1)![0]).toBe(624);
  });
  test("names are text, not markup", () => {
    const page = htmlPage("<t>", [chart({ title: '<b>"' }), htmlTable(["<i>"], [["a&b"]])]);
    expect(page).not.toMatch(/<t>|<b>|<i>/);
    expect(page).toContain("a&amp;b");
  });
});
