import type { Sample } from "./commands/inspect.ts";
import { escapeHtml } from "./html/escape.ts";

/** One self-contained page: each row with its trained characters marked. */
export function inspectHtml(samples: readonly Sample[], report: object): string {
  const rows = samples.map(
    ({ task, row, tokens, targets, segments }) =>
      `<h2>row ${row} · task ${escapeHtml(task)} · ${targets} of ${tokens} tokens trained</h2>\n<pre>${segments
        .map(({ text, trained, weight }) =>
          trained
            ? `<mark${weight === 1 ? "" : ` class="own" title="weight ${weight}"`}>${escapeHtml(text)}</mark>`
            : escapeHtml(text),
        )
        .join("")}</pre>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>tunesmith inspect</title>
<style>:root{color-scheme:light dark}body{font:15px/1.5 system-ui;max-width:70rem;margin:2rem auto;padding:0 1rem}pre{white-space:pre-wrap;background:light-dark(#f6f6f4,#222);padding:1rem}mark{color:#000;background:#bfe8c4}mark.own{background:#f5e3a1}h2{font-size:1rem}</style></head>
<body><h1>What is trained</h1>
<p><mark>trained</mark> · <mark class="own">trained with a weight of its own</mark> (hold the pointer over it) · everything else is context</p>
${rows.join("\n")}
<h2>Mask report</h2>
<pre>${escapeHtml(JSON.stringify(report, null, 2))}</pre>
</body></html>
`;
}
