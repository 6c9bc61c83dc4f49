// Which tasks a run has and what was configured for them, on data entries and under `data.tasks`.

import { nearest } from "@tunesmith/core";
import { DataError } from "../errors.ts";

/** What may be configured for a task. */
export interface TaskSettings {
  /** λ ≥ 0, how much the task's loss counts; default 1 */
  readonly lossWeight?: number | undefined;
  /** how often it is drawn */
  readonly samplingWeight?: number | undefined;
  readonly maxEpochs?: number | undefined;
}

/** A task of a run. */
export interface Task extends TaskSettings {
  readonly name: string;
}

/** The settings of one data entry and the tasks its rows turned out to have. */
export interface EntryTasks {
  readonly path: string;
  readonly settings: TaskSettings;
  readonly tasks: Iterable<string>;
}

const KEYS = { lossWeight: "loss_weight", samplingWeight: "sampling_weight", maxEpochs: "max_epochs" } as const;

/**
 * The tasks of a run in order of first appearance. A setting belongs to the task: entries that share a task may repeat it
 * or leave it out, but not disagree.
 *
 * @param named - `data.tasks`
 * @throws DataError `TASK_CONFLICT` on two values for one task, `TASK_EMPTY` for a named task without rows,
 *   `MIXTURE_INVALID` for a bad number or a sampling weight on an entry of several tasks
 */
export function resolveTasks(
  entries: readonly EntryTasks[],
  named: Readonly<Record<string, TaskSettings>> = {},
): Task[] {
  const found = new Map<string, { lossWeight?: number; samplingWeight?: number; maxEpochs?: number }>();
  const put = (name: string, settings: TaskSettings, from: string): void => {
    const task = found.get(name)!;
    for (const key of ["lossWeight", "samplingWeight", "maxEpochs"] as const) {
      const value = settings[key];
      if (value === undefined) continue;
      if (task[key] !== undefined && task[key] !== value) {
        throw new DataError("TASK_CONFLICT", `task ${JSON.stringify(name)} has two values for ${KEYS[key]}`, {
          path: from,
          expected: String(task[key]),
          received: String(value),
          fix: `give ${KEYS[key]} once per task`,
        });
      }
      task[key] = value;
    }
  };
  for (const entry of entries) {
    const names = [...entry.tasks];
    if (entry.settings.samplingWeight !== undefined && names.length > 1) {
      throw new DataError(
        "MIXTURE_INVALID",
        `${entry.path}: sampling_weight on a file with several tasks (${names.join(", ")})`,
        {
          path: entry.path,
          fix: "set sampling_weight per task under data.tasks",
        },
      );
    }
    for (const name of names) {
      if (!found.has(name)) found.set(name, {});
      put(name, entry.settings, entry.path);
    }
  }
  for (const [name, settings] of Object.entries(named)) {
    if (!found.has(name)) {
      const near = nearest(name, found.keys());
      throw new DataError("TASK_EMPTY", `data.tasks names ${JSON.stringify(name)}, and no row has that task`, {
        expected: [...found.keys()].join(", "),
        received: name,
        fix: near === undefined ? "remove it or check the rows' task column" : `did you mean ${JSON.stringify(near)}?`,
      });
    }
    put(name, settings, "data.tasks");
  }
  return [...found].map(([name, settings]) => {
    const { lossWeight } = settings;
    if (lossWeight !== undefined && !(Number.isFinite(lossWeight) && lossWeight >= 0)) {
      throw new DataError("MIXTURE_INVALID", `task ${JSON.stringify(name)}: loss_weight is ${lossWeight}`, {
        expected: "a number ≥ 0",
        received: String(lossWeight),
      });
    }
    return { name, ...settings };
  });
}
