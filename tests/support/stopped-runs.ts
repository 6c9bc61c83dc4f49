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

/** Indices: the same number of each phase, evenly spread, and where a phase has fewer, more of the others. */
function pick(phases: readonly string[], count: number): number[] {
  const picked = new Set<number>();
  const names = [...new Set(phases)];
  for (const name of names) {
    const indices = [...phases.keys()].filter((i) => phases[i] === name);
    const n = Math.min(indices.length, Math.ceil(count / names.length));
    for (let k = 0; k < n; k++) picked.add(indices[Math.floor(((k + 0.5) * indices.length) / n)]!);
  }
  const golden = (Math.sqrt(5) - 1) / 2;
  for (let k = 1; picked.size < count; k++) picked.add(Math.floor(((k * golden) % 1) * phases.length));
  return [...picked];
}

/**
 * Sends a signal at so many moments of a run, as many of each phase as it has, evenly spread.
 * @returns how many fell into which phase
 */
export async function expectStopsWithinAStep(count: number): Promise<Record<string, number>> {
  const loaded = runConfig(["tune.dropout=0.2", "data.eval_split=0.4", "data.test_split=0.15"]);
  const full = startDisk();
  const moments: string[] = [];
  await runInMemory(full, loaded, { before: (now) => void moments.push(phaseOf(now, full)) });
  const whole = outcomeOn(full);
  const phases: Record<string, number> = {};
  for (const at of pick(moments, count)) {
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
    // where it was made before the evaluation of its step, its state does not know of that yet
    const { [`checkpoints/step-${steps}/state.json`]: _, ...expected } = whole;
    expect(outcomeOn(disk), about()).toMatchObject(expected);
  }
  return phases;
}
