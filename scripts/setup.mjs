// `npm run setup`: everything a fresh clone needs. `npm test` and `npm run demo` begin with the same.
import "./setup/check-node.mjs";
import { failWith } from "./setup/report.mjs";
import { setUp } from "./setup/set-up.mjs";

await setUp().catch(failWith);
