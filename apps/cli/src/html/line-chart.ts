// Curves as SVG, without a library: axes with round numbers, a colour per curve, light and dark.

import { escapeHtml } from "./escape.ts";

export interface Curve {
  readonly name: string;
  /** from left to right; what is not finite leaves a gap */
  readonly points: readonly (readonly [x: number, y: number])[];
  /** drawn dotted, behind the others */
  readonly faint?: boolean;
  /** also marks each point; its number shows under the pointer */
  readonly dots?: boolean;
}

export interface LineChart {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly curves: readonly Curve[];
  /** powers of ten along x */
  readonly logX?: boolean;
  /** a vertical line, with a word beside it */
  readonly mark?: { readonly x: number; readonly text: string };
}

const SIZE = { width: 640, height: 280 };
const MARGIN = { left: 56, right: 16, top: 12, bottom: 40 };
/** Okabe and Ito's colours, told apart by most eyes, without the yellow that white swallows */
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];
/** more points than pixels draw nothing more */
const MOST_POINTS = 1200;

/** One chart; a figure with a caption and a legend. */
export function lineChart({ title, x, y, curves, logX = false, mark }: LineChart): string {
  const shown = curves.map((curve) => ({ ...curve, points: thinned(curve.points) }));
  const all = shown.flatMap(({ points }) => points.filter((point) => point.every(Number.isFinite)));
  const caption = `<figcaption>${escapeHtml(title)}</figcaption>`;
  if (all.length === 0) return `<figure>${caption}<p>no numbers</p></figure>`;
  const across = logX ? Math.log10 : (value: number): number => value;
  const xs = axis(all.map(([value]) => across(value)), logX); // prettier-ignore
  const ys = axis(all.map(([, value]) => value), false); // prettier-ignore
  const px = (value: number): number => place(across(value), xs, MARGIN.left, SIZE.width - MARGIN.right);
  const py = (value: number): number => place(value, ys, SIZE.height - MARGIN.bottom, MARGIN.top);
  const [bottom, left] = [SIZE.height - MARGIN.bottom, MARGIN.left];
  const parts = [
    ...ys.ticks.map((tick) => {
      const at = py(tick).toFixed(1);
      return `<line class="grid" x1="${left}" x2="${SIZE.width - MARGIN.right}" y1="${at}" y2="${at}"/><text x="${left - 6}" y="${at}" dy="0.32em" text-anchor="end">${tickText(tick)}</text>`;
    }),
    ...xs.ticks.map((tick) => {
      const at = place(tick, xs, left, SIZE.width - MARGIN.right).toFixed(1);
      return `<line class="tick" x1="${at}" x2="${at}" y1="${bottom}" y2="${bottom + 4}"/><text x="${at}" y="${bottom + 16}" text-anchor="middle">${tickText(logX ? 10 ** tick : tick)}</text>`;
    }),
    `<text x="${(left + SIZE.width) / 2}" y="${SIZE.height - 6}" text-anchor="middle">${escapeHtml(x)}</text>`,
    ...(mark
      ? [
          `<line class="mark" x1="${px(mark.x).toFixed(1)}" x2="${px(mark.x).toFixed(1)}" y1="${MARGIN.top}" y2="${bottom}"/><text x="${(px(mark.x) + 5).toFixed(1)}" y="${MARGIN.top + 10}">${escapeHtml(mark.text)}</text>`,
        ]
      : []),
    ...shown.map((curve, i) => drawn(curve, COLOURS[i % COLOURS.length]!, px, py)).toReversed(),
  ];
  const legend = shown.map(({ name, faint }, i) => `<span style="color:${COLOURS[i % COLOURS.length]}">${faint ? "┄" : "━"}</span> ${escapeHtml(name)}`); // prettier-ignore
  return `<figure>${caption}
<svg viewBox="0 0 ${SIZE.width} ${SIZE.height}" role="img" aria-label="${escapeHtml(`${title}: ${y} over ${x}`)}">
${parts.join("\n")}
</svg>
<p class="legend">${escapeHtml(y)}: ${legend.join(" · ")}</p></figure>`;
}

/** What a page with charts needs in its style sheet. */
export const CHART_STYLE =
  "figure{margin:1rem 0}figcaption{font-weight:600}svg{width:100%;max-width:44rem;height:auto;display:block}svg text{font:11px system-ui;fill:currentColor}.grid{stroke:currentColor;opacity:.15}.tick{stroke:currentColor}.mark{stroke:currentColor;stroke-dasharray:4 3}.legend{margin:0;font-size:.85rem}";

function drawn(
  { name, points, faint, dots }: Curve,
  colour: string,
  px: (x: number) => number,
  py: (y: number) => number,
): string {
  const pieces: string[][] = [[]];
  for (const [x, y] of points)
    if (Number.isFinite(y)) pieces.at(-1)!.push(`${px(x).toFixed(1)},${py(y).toFixed(1)}`);
    else if (pieces.at(-1)!.length > 0) pieces.push([]);
  const style = faint ? ' stroke-opacity="0.45" stroke-width="1"' : ' stroke-width="2"';
  const lines = pieces.map(
    (piece) => `<polyline fill="none" stroke="${colour}"${style} stroke-linejoin="round" points="${piece.join(" ")}"/>`,
  );
  const marks = dots
    ? points
        .filter(([, y]) => Number.isFinite(y))
        .map(
          ([x, y]) =>
            `<circle cx="${px(x).toFixed(1)}" cy="${py(y).toFixed(1)}" r="3" fill="${colour}"><title>${escapeHtml(`${name}: ${tickText(x)}, ${Number(y.toPrecision(5))}`)}</title></circle>`,
        )
    : [];
  return [...lines, ...marks].join("");
}

interface Axis {
  readonly from: number;
  readonly to: number;
  readonly ticks: readonly number[];
}

/** Round steps that hold all values; whole powers of ten on a logarithmic axis. */
function axis(values: readonly number[], log: boolean): Axis {
  // spread into a call, a long run's values would be too many arguments
  const least = values.reduce((a, b) => Math.min(a, b));
  const most = values.reduce((a, b) => Math.max(a, b));
  const span = most - least || Math.abs(most) || 1;
  const rough = span / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = log ? Math.max(1, Math.round(rough)) : power * [1, 2, 5, 10].find((factor) => factor * power >= rough)!;
  const from = Math.floor(least / step) * step;
  const count = Math.max(1, Math.ceil((most - from) / step - 1e-9));
  return {
    from,
    to: from + count * step,
    ticks: Array.from({ length: count + 1 }, (_, i) => from + i * step),
  };
}

function place(value: number, { from, to }: Axis, start: number, end: number): number {
  return start + ((value - from) / (to - from)) * (end - start);
}

function tickText(value: number): string {
  const rounded = Number(value.toPrecision(6));
  if (rounded === 0) return "0";
  return Math.abs(rounded) < 1e-3 || Math.abs(rounded) >= 1e6
    ? rounded.toExponential().replace("e+", "e")
    : String(rounded);
}

/** Every n-th point and the last. */
function thinned(points: Curve["points"]): Curve["points"] {
  const every = Math.ceil(points.length / MOST_POINTS);
  return every <= 1 ? points : points.filter((_, i) => i % every === 0 || i === points.length - 1);
}
