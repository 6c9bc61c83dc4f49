import { empty, fill, launch } from "@tunesmith/tensor";
import type { Device, Tensor } from "@tunesmith/tensor";

/** A new f32 tensor of one value. */
export function filled(device: Device, shape: readonly number[], value: number): Tensor<"f32"> {
  const out = empty(device, shape);
  launch(fill, { params: { n: out.size, value }, reads: {}, writes: { out } });
  return out;
}
