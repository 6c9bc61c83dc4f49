import { openDevice } from "@tunesmith/node";
import { expect, test } from "vitest";
import { f32 } from "../../../tests/support/device.ts";
import { addScaled } from "./kernels/elementwise.ts";
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
