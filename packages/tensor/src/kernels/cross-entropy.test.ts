import { expect, test } from "vitest";
import { i32, testDevice } from "../../../../tests/support/device.ts";
import { launch } from "../launch.ts";
import { empty } from "../tensor.ts";
import { chunkGroups } from "./cross-entropy.ts";

test("a chunk runs as soon as its first entry is a row, whole or by tiles of its rows; else its counts are 0", async () => {
  const device = await testDevice();
  const counted = async (list: number[], chunkRows: number, tile: number): Promise<number[][]> => {
    const rows = i32(device, [list.length], list);
    const chunks = Math.ceil(list.length / chunkRows);
    const args = empty(device, [chunks, 64], "u32");
    launch(chunkGroups, {
      params: { count: list.length, chunks, chunk_rows: chunkRows, tile, x: 9, y: 3 },
      reads: { rows },
      writes: { args },
    });
    const words = await args.read();
    return Array.from({ length: chunks }, (_, chunk) => Array.from(words.subarray(chunk * 64, chunk * 64 + 3)));
  };
  const three = [0, 4, 5, -1, -1, -1, -1];
  expect(await counted(three, 2, 0)).toEqual([9, 9, 0, 0].map((x) => [x, 3, 1]));
  expect(await counted(three, 2, 1)).toEqual([2, 1, 0, 0].map((x) => [x, 3, 1]));
  expect(await counted(three, 4, 2)).toEqual([2, 0].map((x) => [x, 3, 1]));
  expect(await counted([7, 8, 9], 3, 2)).toEqual([[2, 3, 1]]);
  for (let n = 0; n <= 9; n++) {
    const list = Array.from({ length: 9 }, (_, i) => (i < n ? i : -1));
    expect((await counted(list, 9, 1))[0]![0], `${n} tokens`).toBe(n);
  }
});
