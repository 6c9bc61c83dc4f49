// The one set-up step behind `npm run demo` and `npm test`: each part looks first and works only if it must, so it
// is quick the second time and can be repeated after an interruption.
import { join } from "node:path";
import { build } from "./build.mjs";
import { ensureDevice } from "./device.mjs";
import { install } from "./install.mjs";
import { withLock } from "./lock.mjs";
import { CACHE } from "./paths.mjs";
import { stoppingChildren } from "./run.mjs";

export async function setUp() {
  await stoppingChildren(() =>
    withLock(join(CACHE, "setup.lock"), async () => {
      await install();
      await build();
      await ensureDevice();
    }),
  );
}
