import { openDevice } from "@tunesmith/node";
import { expect, test } from "vitest";
import { f32 } from "../../../tests/support/device.ts";
import { addScaled } from "./kernels/elementwise.ts";
import { matmul } from "./kernels/matmul/matmul.ts";
import { launch } from "./launch.ts";
import { record } from "./recorder.ts";
import { empty, state } from "./tensor.ts";
import type { Tensor } from "./tensor.ts";

function twice(x: Tensor): Tensor {
  const out = empty(x.device, x.shape);
  launch(addScaled, { params: { n: x.size, scale_a: 1, scale_b: 1 }, reads: { a: x, b: f32Zero(x) }, writes: { out } });
  return out;
}
const zeros = new Map<Tensor["device"], Tensor>();
const f32Zero = (x: Tensor): Tensor => zeros.get(x.device)!;

test("debug mode names the first kernel that made a NaN or an Inf, eagerly and in a replay", async () => {
  const device = await openDevice({ debug: true });
  zeros.set(device, state(device, { shape: [70], dtype: "f32", category: "state", label: "zeros" }));
  const good = Float32Array.from({ length: 70 }, (_, i) => i);

  twice(twice(f32(device, [70], good)));
  expect(await device.finite!.first()).toBeUndefined();

  twice(
    f32(
      device,
      [70],
      good.map((v, i) => (i === 69 ? Infinity : v)),
    ),
  );
  expect(await device.finite!.first()).toBe("add_scaled → out [70]");
  expect(await device.finite!.first()).toBeUndefined(); // asking clears

  const program = record(device, "p", ({ input }) => ({ y: twice(twice(input("x", [70], "f32"))) }));
  await program.replay({ x: good }).read();
  expect(await device.finite!.first()).toBeUndefined();
  await program.replay({ x: good.map((v, i) => (i === 3 ? NaN : v)) }).read();
  expect(await device.finite!.first()).toBe("add_scaled → out [70]");
});

test("an output that several launches write together is scanned once it is whole", async () => {
  const device = await openDevice({ debug: true, poison: true });
  const rows = [f32(device, [2, 4], [1, 2, 3, 4, 5, 6, 7, 8]), f32(device, [1, 4], [1, 1, 1, NaN])] as const;
  const product = (second: Tensor<"f32">): void => {
    const shards = [
      { tensor: rows[0], firstRow: 0, rows: 2 },
      { tensor: second, firstRow: 2, rows: 1 },
    ];
    matmul({
      layout: "nt",
      a: f32(device, [1, 4], [1, 2, 3, 4]),
      b: { shape: [3, 4], format: "f32", shards },
      out: empty(device, [1, 3]),
    });
  };
  product(f32(device, [1, 4], [1, 1, 1, 1]));
  expect(await device.finite!.first()).toBeUndefined();
  product(rows[1]);
  expect(await device.finite!.first()).toMatch(/matmul.* → out \[1, 3\]/);
});
