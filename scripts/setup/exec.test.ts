import { spawn } from "node:child_process";
import { describe, expect, test } from "vitest";

const MODULE = new URL("exec.mjs", import.meta.url).href;

/** Starts a Node process that hands over to `node -e code`. */
function start(code: string): ReturnType<typeof spawn> {
  const script = `import { execInstead } from ${JSON.stringify(MODULE)};
    execInstead(process.execPath, ["-e", ${JSON.stringify(code)}], process.env);`;
  return spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "ignore"] });
}

function ended(child: ReturnType<typeof spawn>): Promise<{ status: number | null; signal: string | null }> {
  return new Promise((resolve) => child.on("exit", (status, signal) => resolve({ status, signal })));
}

describe.runIf(process.platform !== "win32")("execInstead", () => {
  test("ends with the exit status of the program", async () => {
    expect(await ended(start("process.exit(4)"))).toEqual({ status: 4, signal: null });
  });

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("hands %s on and ends as the program ends", async (signal) => {
    const handles = start(
      `process.on("${signal}", () => process.exit(130)); setInterval(() => {}, 1000); console.log("up")`,
    );
    handles.stdout?.once("data", () => handles.kill(signal));
    expect(await ended(handles)).toEqual({ status: 130, signal: null });
    const dies = start(`setInterval(() => {}, 1000); console.log("up")`);
    dies.stdout?.once("data", () => dies.kill(signal));
    expect(await ended(dies)).toEqual({ status: null, signal });
  });
});
