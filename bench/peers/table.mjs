// The peers' measurements as a Markdown table.

/**
 * @typedef {object} Result
 * @property {number} round
 * @property {string} peer
 * @property {string | undefined} version
 * @property {string} network
 * @property {number | undefined} first_ms
 * @property {number | undefined} median_ms
 * @property {number | undefined} pipelines
 * @property {number | undefined} dispatches per step
 * @property {number | undefined} submits per step
 * @property {number | undefined} bind_groups per step
 * @property {number | undefined} buffers per step
 * @property {boolean} agrees
 */

const COLUMNS = [
  "network",
  "framework",
  "first step ms",
  "median ms per step",
  "× ours",
  "dispatches",
  "submits",
  "bind groups",
  "buffers",
  "pipelines",
  "losses agree",
];

/**
 * One row per network and framework; rounds side by side. The ratio compares each framework's best
 * round: other load on the machine only ever adds time.
 * @param {readonly Result[]} results
 * @returns {string}
 */
export function table(results) {
  const networks = [...new Set(results.map((r) => r.network))];
  const peers = [...new Set(results.map((r) => r.peer))];
  const lines = networks.flatMap((network) =>
    peers.map((peer) => {
      const of = (/** @type {string} */ name) => results.filter((r) => r.network === network && r.peer === name);
      const rounds = of(peer).sort((a, b) => a.round - b.round);
      const [one] = rounds;
      return [
        network,
        [peer, one?.version].filter(Boolean).join(" "),
        rounds.map((r) => shown(r.first_ms)).join(" / "),
        rounds.map((r) => shown(r.median_ms)).join(" / "),
        shown(best(rounds) / best(of("tunesmith")), 1),
        ...[one?.dispatches, one?.submits, one?.bind_groups, one?.buffers, one?.pipelines].map((n) => shown(n, 0)),
        rounds.every((r) => r.agrees) ? "yes" : "NO",
      ];
    }),
  );
  return [COLUMNS, COLUMNS.map(() => "---"), ...lines].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** @param {readonly Result[]} rounds */
function best(rounds) {
  return Math.min(...rounds.map((r) => r.median_ms ?? Number.NaN));
}

/**
 * One decimal below 100 and none above, unless a number of decimals is asked for.
 * @param {number | undefined} value
 * @param {number} [decimals]
 */
function shown(value, decimals) {
  if (value === undefined || Number.isNaN(value)) return "failed";
  return value.toFixed(decimals ?? (value < 100 ? 1 : 0));
}
