// Runs an op both ways, eagerly and recorded, and insists on the same bits.
import { expect } from "vitest";
import { record, upload } from "@tunesmith/tensor";
import type { Device, DType, Tensor, TensorData } from "@tunesmith/tensor";

export interface Given {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly data: TensorData;
}

/** Host data for `bothModes`: numbers as f32 of a shape. */
export function given(shape: readonly number[], values: ArrayLike<number>): Given {
  return { shape, dtype: "f32", data: Float32Array.from(values) };
}

/** The same for i32. */
export function givenInts(shape: readonly number[], values: ArrayLike<number>): Given {
  return { shape, dtype: "i32", data: Int32Array.from(values) };
}

/**
 * Runs `body` eagerly on uploaded inputs (new tensors full of NaN) and as a recorded program (memory reused), expects
 * every output to agree bit for bit, and returns the outputs.
 */
export async function bothModes<I extends string, O extends string>(
  device: Device,
  inputs: Readonly<Record<I, Given>>,
  body: (tensors: Record<I, Tensor>) => Readonly<Record<O, Tensor>>,
): Promise<Record<O, TensorData>> {
  const names = Object.keys(inputs) as I[];
  const tensors = (make: (name: I, given: Given) => Tensor): Record<I, Tensor> =>
    Object.fromEntries(names.map((name) => [name, make(name, inputs[name])])) as Record<I, Tensor>;

  const eager = body(tensors((_, { shape, dtype, data }) => upload(device, shape, dtype, data)));
  const program = record(device, "both modes", ({ input }) =>
    body(tensors((name, { shape, dtype }) => input(name, shape, dtype))),
  );
  const data = Object.fromEntries(names.map((name) => [name, inputs[name].data]));
  const replayed = await program.replay(data).read();
  program.dispose();

  const bits = (values: TensorData): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const out = {} as Record<O, TensorData>;
  for (const name of Object.keys(eager) as O[]) {
    out[name] = await eager[name].read();
    expect(bits(replayed[name]!), `${name}: replay and eager differ`).toEqual(bits(out[name]));
  }
  return out;
}
