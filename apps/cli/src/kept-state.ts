// Which state a run hands over: its last, or with `keep: best` that of the lowest eval loss.

import type { RunFolder } from "./run-folder.ts";
import type { PreparedRun } from "./run-prepare.ts";
import type { Progress } from "./run-steps.ts";
import { readTuned, tunedKind } from "./tuned-folder.ts";

/**
 * Puts the state to hand over into the store; the last one then lies in a checkpoint folder that last.json names.
 * @returns the step after which the state was so
 */
export async function takeKept(
  { files, loaded, tuning }: PreparedRun,
  { best, steps }: Progress,
  folder: RunFolder,
): Promise<number> {
  if (loaded.config.keep === "last" || best === undefined || best.step === steps) {
    await folder.writeJson("last.json", { step: steps, path: "." });
    return steps;
  }
  const at = (step: number): string => `checkpoints/step-${step}`;
  const last = at(steps);
  const sealed = await files.exists(files.join(folder.path, `${last}/manifest.json`)); // a checkpoint holds it already
  if (!sealed) await folder.save(last, tuning, { exact: true });
  await folder.writeJson("last.json", { step: steps, path: last });
  await readTuned(files, files.join(folder.path, `${at(best.step)}/${tunedKind(tuning)}`), tuning);
  return best.step;
}
