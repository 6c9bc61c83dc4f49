// Runs that a signal reaches at moments spread over everything they do: each ends within the step, and goes on to the same bytes.
import { isTunesmithError } from "@tunesmith/core";
import type { FaultDisk } from "@tunesmith/testing";
import { expect } from "vitest";
import { type Moment, outcomeOn, RUN, runConfig, runInMemory, startDisk } from "./run-in-memory.ts";

/** In words. */
function phaseOf({ program, updates }: Moment, disk: FaultDisk): string {
  if (program?.startsWith("score")) return "evaluating";
  if (program === "update" || program?.startsWith("micro-batch")) return updates === 0 ? "compiling" : "in a step";
  return disk.paths.some((path) => path.startsWith(`${RUN}/`)) ? "saving" : "preparing";
}

/**
 * Sends a signal at so many moments, evenly spread over the run, and at the first of each phase.
 * @returns how many fell into which phase
 */
export async function expectStopsWithinAStep(count: number): Promise<Record<string, number>> {
  const loaded = runConfig(["tune.dropout=0.2", "data.eval_split=0.4", "data.test_split=0.15"]);
  const full = startDisk();
  const moments: string[] = [];
  await runInMemory(full, loaded, { before: (now) => void moments.push(phaseOf(now, full)) });
  const whole = outcomeOn(full);
  const spread = Array.from({ length: count }, (_, k) => Math.floor(((k + 0.5) * moments.length) / count));
  const firsts = [...new Set(moments)].map((phase) => moments.indexOf(phase));
  const phases: Record<string, number> = {};
  for (const at of [...firsts, ...spread]) {
    const disk = startDisk();
    const controller = new AbortController();
    let [seen, updates, scored] = [0, 0, 0];
    const phase = moments[at]!;
    const before = ({ program }: Moment): void => {
      if (controller.signal.aborted) {
        updates += Number(program === "update");
        scored += Number(program?.startsWith("score") === true);
      } else if (seen++ === at) controller.abort("SIGINT");
    };
    const about = (): string => `signal at ${at} of ${moments.length}, ${phase}`;
    const ended = await runInMemory(disk, loaded, { before, signal: controller.signal }).catch(
      (error: unknown) => error,
    );
    phases[phase] = (phases[phase] ?? 0) + 1;
    // the step that it reached is finished, nothing else is begun
    expect(updates, about()).toBeLessThanOrEqual(1);
    expect(scored, about()).toBe(0);
    if (isTunesmithError(ended)) {
      expect([ended.code, outcomeOn(disk)], about()).toEqual(["INTERRUPTED", {}]);
      continue;
    }
    const { steps, stopped } = ended as { steps: number; stopped?: string };
    if (stopped === undefined) {
      expect(outcomeOn(disk), about()).toEqual(whole); // it came too late to stop anything
      continue;
    }
    expect(stopped, about()).toBe("signal");
    expect(await runInMemory(disk, loaded, { resume: true }), about()).toBeDefined();
    // the checkpoint that the signal made is one more
    const extra = Object.keys(outcomeOn(disk)).filter((path) => !(path in whole));
    for (const path of extra) expect(path, about()).toMatch(new RegExp(`^checkpoints/step-${steps}/`));
    expect(outcomeOn(disk), about()).toMatchObject(whole);
  }
  return phases;
}
