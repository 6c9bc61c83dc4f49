// Four-bit matrices in a checkpoint as bitsandbytes 0.50 serializes them. A matrix M.weight is a handful of tensors:
//   M.weight                                    packed elements, two per byte; perhaps seen through another dtype
//   M.weight.absmax                             scales: f32, or u8 codes with double quantization
//   M.weight.quant_map                          f32 [16], the values of the four-bit codes
//   M.weight.nested_absmax, .nested_quant_map   with double quantization: scales of groups, values of the codes
//   M.weight.quant_state.bitsandbytes__nf4      JSON as bytes: block size, shape, original dtype, offset

import { InputError, parseStrictJson } from "@tunesmith/core";
import type { JsonObject } from "@tunesmith/core";
import { toF32 } from "@tunesmith/safetensors";
import type { TensorInfo, TensorSource } from "@tunesmith/safetensors";
import { allocateFourBit, BLOCKS_PER_GROUP, FOUR_BIT_VALUES, fourBitWeight } from "@tunesmith/tensor";
import type { BlockScales, Device, FourBitFormat, Weight } from "@tunesmith/tensor";
import { LoraError } from "../errors.ts";
import { checkBlockSize, dequantizeFourBit } from "./quantize.ts";

const TYPES: readonly FourBitFormat[] = ["nf4", "fp4"];
const STATE = ".quant_state.bitsandbytes__";

/** A quantized matrix of a checkpoint whose parts fit each other. */
export interface BitsandbytesMatrix {
  readonly type: FourBitFormat;
  readonly blockSize: number;
  readonly doubleQuant: boolean;
  readonly shape: readonly [rows: number, cols: number];
  /** what bitsandbytes decodes it to, in torch's words */
  readonly dtype: string;
  /** every tensor that belongs to it */
  readonly tensors: readonly string[];
  /** on a device that only plans, without reading anything */
  load(device: Device): Promise<Weight>;
  /** all elements as f32, row-major */
  f32(): Promise<Float32Array>;
}

/** Names of the parts of `M.weight`. */
export function bitsandbytesNames(
  name: string,
  type: string,
): { absmax: string; map: string; groupScales: string; groupMap: string; state: string } {
  return {
    absmax: `${name}.absmax`,
    map: `${name}.quant_map`,
    groupScales: `${name}.nested_absmax`,
    groupMap: `${name}.nested_quant_map`,
    state: `${name}${STATE}${type}`,
  };
}

/**
 * Finds matrix `name` in a checkpoint. Reads its quant_state only; the rest is read when it is loaded.
 *
 * @param shape - what the model asks for
 * @param where - folder or file, named in errors
 * @returns undefined if the matrix is one plain tensor
 * @throws LoraError `QUANT_UNSUPPORTED`, `QUANT_INVALID`, `QUANT_TENSOR_MISSING`, `QUANT_TENSOR_MISMATCH`
 */
export async function findBitsandbytes(
  checkpoint: TensorSource,
  name: string,
  shape: readonly [rows: number, cols: number],
  where: string,
): Promise<BitsandbytesMatrix | undefined> {
  const stateName = TYPES.map((type) => name + STATE + type).find((key) => checkpoint.tensors.has(key));
  const packed = checkpoint.tensors.get(name);
  if (stateName === undefined) {
    refuseOthers(checkpoint, name, packed, where);
    return undefined;
  }
  const type = stateName.slice((name + STATE).length) as FourBitFormat;
  const names = bitsandbytesNames(name, type);
  const read = new Parts(checkpoint, where);
  const state = await readState(checkpoint, stateName, type, where);
  const { blockSize, offset } = state;
  checkBlockSize(blockSize, `${where}: ${stateName}`);
  if (state.shape.join() !== shape.join())
    throw new LoraError(
      "QUANT_TENSOR_MISMATCH",
      `${where}: quantized tensor ${name} has shape [${state.shape.join(", ")}], but config.json says [${shape.join(", ")}]`,
      {
        path: where,
        received: `[${state.shape.join(", ")}]`,
        expected: `[${shape.join(", ")}]`,
        fix: "use the config.json that came with these weights",
      },
    );
  const count = shape[0] * shape[1];
  const blocks = Math.ceil(count / blockSize);
  const doubleQuant = offset !== undefined;
  read.bytes(name, Math.ceil(count / 2));
  read.expect(names.map, "F32", 16);
  if (doubleQuant) {
    read.expect(names.absmax, "U8", blocks);
    read.expect(names.groupScales, "F32", Math.ceil(blocks / BLOCKS_PER_GROUP));
    read.expect(names.groupMap, "F32", 256);
  } else read.expect(names.absmax, "F32", blocks);

  const scales = async (): Promise<BlockScales> => {
    const map = await read.f32(names.map);
    if (map.some((value, code) => value !== FOUR_BIT_VALUES[type][code]))
      throw new LoraError("QUANT_TENSOR_MISMATCH", `${where}: ${names.map} is not the table of ${type}`, {
        path: where,
        received: `[${[...map].join(", ")}]`,
        expected: `[${FOUR_BIT_VALUES[type].join(", ")}]`,
        fix: "quantize the original checkpoint again",
      });
    if (offset === undefined) return { blockSize, scales: await read.finite(names.absmax) };
    return {
      blockSize,
      scales: (await checkpoint.read(names.absmax)).slice(),
      group: { map: await read.finite(names.groupMap), scales: await read.finite(names.groupScales), offset },
    };
  };
  return {
    type,
    blockSize,
    doubleQuant,
    shape,
    dtype: state.dtype,
    tensors: [name, names.absmax, names.map, stateName, ...(doubleQuant ? [names.groupScales, names.groupMap] : [])],
    load: async (device) => {
      const matrix = { shape, format: type, label: name };
      if (device.virtual) return allocateFourBit(device, { ...matrix, blockSize, doubleQuant }).weight;
      return fourBitWeight(device, {
        ...matrix,
        scales: await scales(),
        elements: (first, end) => checkpoint.readRange(name, first, end - first),
      });
    },
    f32: async () => dequantizeFourBit({ elements: await checkpoint.read(name), scales: await scales() }, type, count),
  };
}

/** A matrix whose tensors say that it is quantized, but not how this version reads it. */
function refuseOthers(checkpoint: TensorSource, name: string, packed: TensorInfo | undefined, where: string): void {
  const stem = name.slice(0, name.lastIndexOf("."));
  const other = [...checkpoint.tensors.keys()].find((key) => key.startsWith(name + STATE));
  if (other !== undefined)
    throw new LoraError(
      "QUANT_UNSUPPORTED",
      `${where}: ${name} has the quantization type "${other.slice((name + STATE).length)}"`,
      { path: where, received: other, expected: TYPES.join(", "), fix: "quantize the original checkpoint again" },
    );
  for (const [mark, method] of [
    [`${stem}.scales`, "MLX or AWQ"],
    [`${stem}.qweight`, "GPTQ or AWQ"],
    [`${stem}.SCB`, "LLM.int8"],
    [`${name}.SCB`, "LLM.int8"],
  ] as const)
    if (checkpoint.tensors.has(mark))
      throw new LoraError("QUANT_UNSUPPORTED", `${where}: ${mark} shows that ${name} is quantized by ${method}`, {
        path: where,
        received: mark,
        expected: "bitsandbytes in four bits (nf4 or fp4), or plain weights",
        fix: "use the original 16-bit checkpoint",
      });
  if (packed?.dtype === "U8" || checkpoint.tensors.has(`${name}.absmax`))
    throw new LoraError("QUANT_TENSOR_MISSING", `${where}: ${name} is quantized, but its quant_state is missing`, {
      path: where,
      expected: TYPES.map((type) => name + STATE + type).join(" or "),
      fix: "get the model again; it was saved by an old version or cut short",
    });
}

interface QuantState {
  readonly blockSize: number;
  readonly shape: readonly number[];
  readonly dtype: string;
  /** with double quantization */
  readonly offset: number | undefined;
}

async function readState(
  checkpoint: TensorSource,
  name: string,
  type: FourBitFormat,
  where: string,
): Promise<QuantState> {
  const at = `${where}: ${name}`;
  const fail = (because: string, received: string, expected: string): never => {
    throw new LoraError("QUANT_INVALID", `${at}: ${because}`, {
      path: where,
      received,
      expected,
      fix: "get the model again from its source",
    });
  };
  if (checkpoint.tensors.get(name)!.dtype !== "U8")
    fail("the quant_state is no text", checkpoint.tensors.get(name)!.dtype, "U8");
  const json = parseState(await checkpoint.read(name), at, fail);
  const number = (key: string): number => {
    const value = json.get(key);
    return typeof value === "number" ? value : fail(`${key} is no number`, String(value), "a number");
  };
  if (json.get("quant_type") !== type)
    fail("quant_type is not what the name says", String(json.get("quant_type")), type);
  const shape = json.get("shape");
  if (!Array.isArray(shape) || shape.length !== 2 || !shape.every((d) => Number.isSafeInteger(d) && (d as number) > 0))
    return fail("shape is none of a matrix", JSON.stringify(shape) ?? "missing", "[rows, columns]");
  const nested = json.has("nested_offset") || json.has("nested_blocksize");
  if (nested) {
    if (number("nested_blocksize") !== BLOCKS_PER_GROUP)
      fail("scales are grouped otherwise", String(json.get("nested_blocksize")), String(BLOCKS_PER_GROUP));
    const dtype = json.get("nested_dtype") ?? "float32";
    if (dtype !== "float32") fail("nested_dtype", String(dtype), "float32");
  }
  return {
    blockSize: number("blocksize"),
    shape: shape as number[],
    dtype: String(json.get("dtype") ?? "float32"),
    offset: nested ? Math.fround(number("nested_offset")) : undefined,
  };
}

function parseState(
  bytes: Uint8Array,
  at: string,
  fail: (because: string, received: string, expected: string) => never,
): JsonObject {
  try {
    const json = parseStrictJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes), { path: at });
    return json instanceof Map ? json : fail("the quant_state is no JSON object", typeof json, "an object");
  } catch (cause) {
    if (!(cause instanceof TypeError || cause instanceof InputError)) throw cause;
    return fail(`the quant_state is not JSON (${cause.message})`, `${bytes.length} bytes`, "a JSON object");
  }
}

/** Access to the parts of a matrix, with errors that name them. */
class Parts {
  readonly #checkpoint: TensorSource;
  readonly #where: string;

  constructor(checkpoint: TensorSource, where: string) {
    this.#checkpoint = checkpoint;
    this.#where = where;
  }

  /** A tensor of any dtype with so many bytes. */
  bytes(name: string, bytes: number): void {
    const { start, end, dtype } = this.#get(name, `${bytes} bytes`);
    if (end - start !== bytes) this.#mismatch(name, `${dtype} with ${end - start} bytes`, `${bytes} bytes`);
  }

  /** A tensor with so many elements, whatever its shape. */
  expect(name: string, dtype: "F32" | "U8", count: number): void {
    const found = this.#get(name, `${dtype} [${count}]`);
    if (found.dtype !== dtype || found.shape.reduce((a, b) => a * b, 1) !== count)
      this.#mismatch(name, `${found.dtype} [${found.shape.join(", ")}]`, `${dtype} [${count}]`);
  }

  async f32(name: string): Promise<Float32Array> {
    return toF32(await this.#checkpoint.read(name), "F32");
  }

  async finite(name: string): Promise<Float32Array> {
    const values = await this.f32(name);
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) this.#mismatch(name, `${values[bad]} at element ${bad}`, "finite numbers");
    return values;
  }

  #get(name: string, expected: string): TensorInfo {
    const found = this.#checkpoint.tensors.get(name);
    if (found) return found;
    throw new LoraError("QUANT_TENSOR_MISSING", `${this.#where}: tensor ${name} of a quantized matrix is missing`, {
      path: this.#where,
      expected: `${name}, ${expected}`,
      fix: "get the model again; a file may be missing",
    });
  }

  #mismatch(name: string, received: string, expected: string): never {
    throw new LoraError(
      "QUANT_TENSOR_MISMATCH",
      `${this.#where}: tensor ${name} is ${received}, expected ${expected}`,
      {
        path: this.#where,
        received,
        expected,
        fix: "get the model again from its source",
      },
    );
  }
}
