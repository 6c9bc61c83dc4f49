// Compiles all packages when a source is newer than the last build.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { isStamped, once, treeFingerprint, workspacePackages } from "./fingerprint.mjs";
import { withLock } from "./lock.mjs";
import { CACHE, ROOT } from "./paths.mjs";
import { say, SetupError } from "./report.mjs";
import { run, tail } from "./run.mjs";

const STAMP = join(CACHE, "built");
const COMPILER = join(ROOT, "node_modules", "typescript", "bin", "tsc");

export async function build() {
  if (isBuilt()) return;
  if (!existsSync(COMPILER)) {
    throw new SetupError("NOT_SET_UP", `this clone has no dependencies yet (${COMPILER} is missing)`, {
      fix: "npm run setup",
    });
  }
  await withLock(join(CACHE, "build.lock"), async () => {
    if (isBuilt()) return; // another process has just built the same
    say("building");
    await once(STAMP, sourcesFingerprint(), async () => {
      const result = await run(process.execPath, [COMPILER, "-b"]);
      if (result.status !== 0) {
        throw new SetupError("BUILD_FAILED", `the build failed:\n${tail(result, 40)}`, {
          fix: "mend the errors above; `npm run types` shows them alone",
        });
      }
    });
  });
}

function isBuilt() {
  return (
    isStamped(STAMP, sourcesFingerprint()) &&
    workspacePackages().every((folder) => existsSync(join(ROOT, folder, "dist")))
  );
}

function sourcesFingerprint() {
  const packages = workspacePackages();
  return treeFingerprint({
    files: [
      "tsconfig.json",
      "tsconfig.base.json",
      ...packages.flatMap((folder) => [join(folder, "package.json"), join(folder, "tsconfig.json")]),
    ],
    folders: packages.map((folder) => join(folder, "src")),
    keep: (name) => !name.endsWith(".test.ts"),
  });
}
