// A run that loses its process and its power at any point, and goes on with --resume, ends with the bytes of one that never stopped.
import { beforeAll, describe, expect, test } from "vitest";
import {
  type Moment,
  outcomeOn,
  RUN,
  runConfig,
  runInMemory,
  startDisk,
} from "../../../tests/support/run-in-memory.ts";

const STOPS: Readonly<Record<string, (now: Moment) => boolean>> = {
  "mid-accumulation": ({ program, updates, microBatches }) =>
    program?.startsWith("micro-batch") === true && updates === 4 && microBatches === 1,
  step: ({ program, updates }) => program === "update" && updates === 4,
  "epoch edge": ({ program, updates, microBatches }) =>
    program?.startsWith("micro-batch") === true && updates === 6 && microBatches === 0,
  "in eval": ({ program, updates, scored }) => program?.startsWith("score") === true && updates === 4 && scored > 0,
  "in save": ({ operation }) => operation?.call === "rename" && operation.path.endsWith("step-4/manifest.json"),
  last: ({ operation }) => operation?.call === "rename" && operation.path.startsWith(`${RUN}/adapter/`),
};

const settings = [true, false].flatMap((packing) =>
  [0, 0.2].flatMap((dropout) => [true, false].map((shuffle) => ({ packing, dropout, shuffle }))),
);

describe.each(settings)("packing $packing, dropout $dropout, shuffle $shuffle", ({ packing, dropout, shuffle }) => {
  const loaded = runConfig([`data.packing=${packing}`, `tune.dropout=${dropout}`, `data.shuffle=${shuffle}`]);
  let whole: Record<string, unknown>;
  beforeAll(async () => {
    const disk = startDisk();
    await runInMemory(disk, loaded);
    whole = outcomeOn(disk);
  });

  test.each(Object.keys(STOPS))("stopped %s", async (stop) => {
    const disk = startDisk();
    const before = (now: Moment): void => void (STOPS[stop]!(now) && disk.kill());
    expect(await runInMemory(disk, loaded, { before })).toBeUndefined();
    const left = disk.crashed("power");
    expect(await runInMemory(left, loaded, { resume: true })).toBeDefined();
    expect(outcomeOn(left)).toEqual(whole);
  });
});
