// Runs turbo with the pinned pnpm in front of PATH: turbo starts package scripts through it, and a machine set up
// by `npm run setup` has no other.
import "./setup/check-node.mjs";
import { join } from "node:path";
import { execInstead } from "./setup/exec.mjs";
import { pnpmEnvironment } from "./setup/install.mjs";
import { ROOT } from "./setup/paths.mjs";

const turbo = join(ROOT, "node_modules", "turbo", "bin", "turbo");
execInstead(process.execPath, [turbo, "run", ...process.argv.slice(2)], {
  ...pnpmEnvironment(),
  TURBO_TELEMETRY_DISABLED: "1",
  TURBO_NO_UPDATE_NOTIFIER: "1",
});
