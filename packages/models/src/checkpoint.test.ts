// Names as they are found on the hub, and what a folder may hold beside the model's own tensors.
import { memoryFiles } from "@tunesmith/testing";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { testDevice } from "../../../tests/support/device.ts";
import { goldenPath } from "../../../tests/support/goldens.ts";
import { fromCheckpoint, openChecked, readModelConfig } from "./checkpoint.ts";
import { drawModel } from "./draw.ts";
import { parameterShapes } from "./parameters.ts";

type Header = Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;

/** A golden model's folder, its safetensors header changed, with some bytes of data behind. */
function folder(
  model: string,
  change: (header: Header, end: number) => Header,
  more: Uint8Array = new Uint8Array(),
): ReturnType<typeof memoryFiles> {
  const bytes = readFileSync(goldenPath("models", model, "model.safetensors"));
  const length = Number(bytes.readBigUInt64LE(0));
  const { __metadata__, ...header } = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Header;
  const data = Buffer.concat([bytes.subarray(8 + length), more]);
  const text = Buffer.from(JSON.stringify(change(header, data.length - more.length)));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  return memoryFiles([
    ["m/config.json", readFileSync(goldenPath("models", model, "config.json"))],
    ["m/model.safetensors", Buffer.concat([size, text, data])],
  ]);
}

const renamed = (header: Header, rename: (name: string) => string): Header =>
  Object.fromEntries(Object.entries(header).map(([name, entry]) => [rename(name), entry]));

async function everything(files: ReturnType<typeof memoryFiles>): Promise<Map<string, Float32Array>> {
  const { config, tensors } = await openChecked(files, "m");
  const values = new Map<string, Float32Array>();
  for (const [name, [rows]] of parameterShapes(config)) {
    values.set(name, await fromCheckpoint(tensors, name).f32());
    const some = await fromCheckpoint(tensors, name).rows(rows! - 1, 1);
    expect(some).toEqual(values.get(name)!.subarray(-some.length));
  }
  await tensors.close();
  return values;
}

describe("names", () => {
  test("GPT-2 as it lies on the hub: without a prefix, with masks as buffers", async () => {
    const original = await everything(folder("gpt2", (header) => header));
    const mask = new Uint8Array(4 * 64 * 64);
    const hub = folder(
      "gpt2",
      (header, end) => ({
        ...renamed(header, (name) => name.replace("transformer.", "")),
        "h.0.attn.bias": { dtype: "F32", shape: [1, 1, 64, 64], data_offsets: [end, end + mask.length] },
      }),
      mask,
    );
    expect(await everything(hub)).toEqual(original);
  });

  test("a bare Llama without its head loads where the head is tied", async () => {
    const files = folder("llama-bf16", (header) => renamed(header, (name) => name.replace("model.", "")));
    const { tensors } = await openChecked(files, "m");
    expect([...tensors.tensors.keys()]).toContain("model.layers.0.self_attn.q_proj.weight");
    await tensors.close();
  });

  test("old buffers of GPT-NeoX are passed over; a tensor of another name is not", async () => {
    const extra = (name: string): ReturnType<typeof memoryFiles> =>
      folder(
        "gpt-neox",
        (header, end) => ({ ...header, [name]: { dtype: "F32", shape: [1], data_offsets: [end, end + 4] } }),
        new Uint8Array(4),
      );
    for (const name of ["bias", "masked_bias", "rotary_emb.inv_freq"]) {
      const { tensors } = await openChecked(extra(`gpt_neox.layers.0.attention.${name}`), "m");
      await tensors.close();
    }
    await expect(openChecked(extra("gpt_neox.layers.0.attention.gate"), "m")).rejects.toMatchObject({
      code: "TENSOR_UNEXPECTED",
    });
  });
});

test("positions that a model cannot know are refused, and as many as it knows are prepared", async () => {
  const device = await testDevice();
  const config = await readModelConfig(
    folder("gpt2", (header) => header),
    "m",
  );
  await expect(drawModel(device, config, { seed: 1, positions: 65 })).rejects.toMatchObject({
    code: "CONTEXT_TOO_LONG",
    message: expect.stringContaining("knows 64"),
  });
  const model = await drawModel(device, config, { seed: 1 });
  expect(model.positions).toBe(64);
  model.dispose();
});
