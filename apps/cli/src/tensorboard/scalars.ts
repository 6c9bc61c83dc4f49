// Which curves a line of metrics.jsonl adds to.

type Line = Readonly<Record<string, unknown>>;
type Scores = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** Numbers of a step that make no curve. */
const COUNTERS = ["format_version", "step", "total_steps"];
const OF_AN_EVALUATION = ["loss", "perplexity", "token_accuracy"];

/** Tags and values; nothing where a line has no numbers to draw. */
export function scalarsOf(line: Line): (readonly [tag: string, value: number])[] {
  if ("probe" in line) {
    const { sets, pairs } = line["probe"] as { sets: Scores; pairs: Scores };
    return [...curves("probe", ["loss"], sets), ...curves("probe", ["gap"], pairs)];
  }
  for (const split of ["eval", "test"])
    if (`${split}_loss` in line)
      return [
        ...OF_AN_EVALUATION.map((name) => [`${split}/${name}`, line[`${split}_${name}`] as number] as const),
        ...curves(split, ["loss"], line["tasks"] as Scores),
      ];
  if (!("grad_norm" in line)) return [];
  const { seconds: _, ...speed } = line["timing"] as Readonly<Record<string, number>>;
  const penalties = (line["penalties"] ?? {}) as Readonly<Record<string, number>>;
  return [
    ...Object.entries({ ...line, ...speed, ...penalties }).flatMap(([name, value]) =>
      typeof value === "number" && !COUNTERS.includes(name) ? [[`train/${name}`, value] as const] : [],
    ),
    ...curves("train", ["loss"], line["tasks"] as Scores),
  ];
}

function curves(split: string, names: readonly string[], scores: Scores): (readonly [string, number])[] {
  return Object.entries(scores).flatMap(([of, values]) =>
    names.map((name) => [`${split}/${name}/${of}`, values[name]!] as const),
  );
}
