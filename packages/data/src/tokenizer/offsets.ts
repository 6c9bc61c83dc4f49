/**
 * Where each code point of `text` starts, in UTF-16 code units, with the length of `text` at the end.
 * Native tokenizers count code points, JavaScript counts UTF-16: after the first emoji the two differ.
 * A lone surrogate counts as one code point, as it does when it is replaced by U+FFFD on its way to the library.
 *
 * @returns undefined where the two counts agree for the whole text
 */
export function codePointStarts(text: string): Int32Array | undefined {
  let points = 0;
  for (const _ of text) points++;
  if (points === text.length) return undefined;
  const starts = new Int32Array(points + 1);
  let unit = 0;
  for (let point = 0; point < starts.length; point++) {
    starts[point] = unit;
    if (unit < text.length) unit += text.codePointAt(unit)! > 0xffff ? 2 : 1;
  }
  return starts;
}

/** Spans in UTF-16 code units as spans in code points, the unit that files and JSON documents use. */
export function spansInCodePoints(text: string, spans: readonly (readonly [number, number])[]): [number, number][] {
  const starts = codePointStarts(text);
  if (starts === undefined) return spans.map(([start, end]) => [start, end]);
  const points = new Map<number, number>();
  starts.forEach((unit, point) => points.set(unit, point));
  return spans.map(([start, end]) => [points.get(start)!, points.get(end)!]);
}
