import { expect, test } from "vitest";
import { i32, testDevice } from "../../../../tests/support/device.ts";
import { launch } from "../launch.ts";
import { empty } from "../tensor.ts";
import { chunkGroups } from "./cross-entropy.ts";

test("a chunk runs as soon as its first entry is a row; its workgroup counts are otherwise 0", async () => {
  const device = await testDevice();
  const rows = i32(device, [7], [0, 4, 5, -1, -1, -1, -1]);
  const args = empty(device, [4, 64], "u32");
  launch(chunkGroups, {
    params: { chunks: 4, chunk_rows: 2, x: 9, y: 3 },
    reads: { rows },
    writes: { args },
  });
  const words = await args.read();
  const counts = [0, 1, 2, 3].map((chunk) => Array.from(words.subarray(chunk * 64, chunk * 64 + 3)));
  expect(counts).toEqual([
    [9, 3, 1],
    [9, 3, 1],
    [0, 3, 1],
    [0, 3, 1],
  ]);
});
