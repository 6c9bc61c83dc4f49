// The networks of bench/peers as replayed programs: the losses that jax-js and tfjs give, and nothing made per step.
import { describe, expect, test } from "vitest";
import { countCalls } from "../bench/peers/calls.mjs";
import { NETWORKS } from "../bench/peers/networks.mjs";
import { PEER_LOSSES } from "../bench/peers/problem.mjs";
import { testDevice } from "./support/device.ts";
import { maxError } from "./support/goldens.ts";

describe.each(["mlp", "transformer"] as const)("%s", (name) => {
  test("gives the peers' losses, creates nothing in a steady step, leaves no buffer behind", async () => {
    const device = await testDevice();
    device.workspace.release(); // slots that earlier tests left: what this network needs is then seen to be made
    const calls = countCalls(device.gpu);
    const network = NETWORKS[name](device);
    const losses: number[] = [];
    const peers = PEER_LOSSES[name];
    for (let step = 0; step < peers.length; step++) {
      const before = calls.liveBuffers();
      calls.take();
      losses.push(await network.step());
      const { buffers, bindGroups, pipelines, submits } = calls.take();
      if (step === 0) {
        expect(buffers).toBeGreaterThan(0);
        expect(bindGroups).toBeGreaterThan(0);
        continue;
      }
      expect({ buffers, bindGroups, pipelines }).toEqual({ buffers: 0, bindGroups: 0, pipelines: 0 });
      expect(submits).toBe(1);
      expect(calls.liveBuffers()).toBe(before);
    }
    network.dispose();
    device.workspace.release(); // the slots are the device's, not the network's
    calls.stop();

    expect(maxError(losses, peers), losses.join(", ")).toBeLessThan(1e-4);
    expect(calls.liveBuffers()).toBe(0);
  });
});
