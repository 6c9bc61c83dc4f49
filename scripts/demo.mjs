// `npm run demo`: sets the clone up, then runs `tunesmith demo` with whatever follows.
import "./setup/check-node.mjs";
import { join } from "node:path";
import { execInstead } from "./setup/exec.mjs";
import { ROOT } from "./setup/paths.mjs";
import { failWith } from "./setup/report.mjs";
import { setUp } from "./setup/set-up.mjs";

const args = process.argv.slice(2);
await setUp().catch((error) => failWith(error, { json: args.includes("--json") }));
execInstead(process.execPath, [join(ROOT, "bin", "tunesmith.mjs"), "demo", ...args], process.env);
