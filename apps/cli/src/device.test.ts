// Needs a WebGPU device; software counts. A device that stays open keeps its memory for as long as the process lives.
import { openDevice } from "@tunesmith/node";
import { expect, test, vi } from "vitest";
import { folderWith, runCli } from "../../../tests/support/cli.ts";
import { modelFolder } from "../../../tests/support/model-folder.ts";

test("a command closes its device, also when it fails", async () => {
  const cwd = folderWith({ ...modelFolder("model", { weights: true }), ...modelFolder("weightless") });
  const { gpu } = await openDevice();
  gpu.destroy();
  const prototype = Object.getPrototypeOf(gpu) as GPUDevice;
  const closed = vi.spyOn(prototype, "destroy");
  try {
    const generate = ["generate", "--prompt", "abc", "--max-new-tokens", "1", "--model"];
    expect((await runCli([...generate, "model"], { cwd })).exitCode).toBe(0);
    expect(closed).toHaveBeenCalledTimes(1);
    expect((await runCli([...generate, "weightless"], { cwd })).exitCode).toBe(2);
    expect(closed).toHaveBeenCalledTimes(2);
  } finally {
    closed.mockRestore();
  }
});
