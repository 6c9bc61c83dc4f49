// Our side of the peers' benchmark: one JSON line per measurement, in the peers' own format and by their protocol. A
// step waits for its loss; the first one, recording and compilation included, is timed by itself, two more warm up.
//   node bench/peers/tunesmith.mjs [mlp] [transformer]
import { openDevice } from "@tunesmith/node";
import { countCalls } from "./calls.mjs";
import { NETWORKS } from "./networks.mjs";
import { PEER_LOSSES } from "./problem.mjs";

const WARM_UP = 3;
const wanted = process.argv.slice(2);
const peer = "tunesmith";
const print = (/** @type {object} */ row) => console.log(JSON.stringify(row));
const round = (/** @type {number} */ ms) => Number(ms.toFixed(2));

const device = await openDevice({});
print({ peer, adapter: device.facts.description });
for (const name of /** @type {const} */ (["mlp", "transformer"])) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const network = NETWORKS[name](device);
  const calls = countCalls(device.gpu);
  const losses = [];
  const times = [];
  const steps = PEER_LOSSES[name].length;
  let cold = calls.take();
  for (let i = 0; i < steps; i++) {
    if (i === WARM_UP) calls.take();
    const started = performance.now();
    losses.push(await network.step());
    times.push(performance.now() - started);
    if (i === 0) cold = calls.take();
  }
  const total = calls.take();
  calls.stop();
  network.dispose();
  const [first = Number.NaN] = times;
  const steady = times.slice(WARM_UP).sort((a, b) => a - b);
  print({
    peer,
    label: `${name} train step`,
    first_ms: round(first),
    median_ms: round(steady[steady.length >> 1] ?? Number.NaN),
    best_ms: round(steady[0] ?? Number.NaN),
    cold: { pipelines: cold.pipelines },
    per_iter: Object.fromEntries(Object.entries(total).map(([key, count]) => [key, count / steady.length])),
  });
  print({ peer, label: `${name} train step losses`, losses: losses.map((loss) => Number(loss.toFixed(5))) });
}
device.destroy();
