import type { Device } from "./device.ts";
import { asElements, BYTES_PER_ELEMENT, byteSize, elementCount } from "./dtype.ts";
import type { DType, TensorData } from "./dtype.ts";
import { ShapeError, TensorError } from "./errors.ts";
import type { Category, Storage } from "./storage.ts";

/** A dense row-major array on a device: a shape and a dtype over (a window of) a storage. */
export class Tensor<D extends DType = DType> {
  readonly device: Device;
  readonly shape: readonly number[];
  readonly dtype: D;
  readonly storage: Storage;
  /** start in the storage, a multiple of 256 */
  readonly byteOffset: number;

  constructor(device: Device, shape: readonly number[], dtype: D, storage: Storage, byteOffset = 0) {
    this.device = device;
    this.shape = shape;
    this.dtype = dtype;
    this.storage = storage;
    this.byteOffset = byteOffset;
  }

  /** number of elements */
  get size(): number {
    return elementCount(this.shape);
  }

  /** bytes a kernel binds: the elements rounded up to 16 bytes */
  get bytes(): number {
    return byteSize(this.shape, this.dtype);
  }

  /** The same elements under another shape, without a copy. */
  reshape(shape: readonly number[]): Tensor<D> {
    if (elementCount(shape) !== this.size)
      throw new ShapeError({
        op: "reshape",
        arg: "shape",
        received: shape,
        expected: this.shape,
        because: "both must hold the same number of elements",
      });
    return new Tensor(this.device, shape, this.dtype, this.storage, this.byteOffset);
  }

  /**
   * Reads the elements; waits for everything launched before.
   * @throws TensorError `RECORDING` while recording (at once, not as a rejection): values do not exist yet
   */
  read(): Promise<TensorData<D>> {
    if (this.device.recorder)
      throw new TensorError("RECORDING", "a tensor was read while recording, where values do not exist yet", {
        fix: "return it from the recorded function and read the program's outputs",
      });
    const bytes = this.device.eager.read(this, this.size * BYTES_PER_ELEMENT[this.dtype]);
    return bytes.then((b) => asElements(b, this.dtype, this.size) as TensorData<D>);
  }

  /** Overwrites the elements from the host, after everything launched before. */
  write(data: TensorData<D>): void {
    if (this.device.recorder)
      throw new TensorError("RECORDING", "a tensor was written from the host while recording", {
        fix: "make it an input of the program",
      });
    if (this.device.virtual) return;
    if (data.length !== this.size)
      throw new ShapeError({
        op: "write",
        arg: "data",
        received: [data.length],
        expected: [this.size],
        because: `the tensor is [${this.shape.join(", ")}]`,
      });
    this.device.eager.write(this, data.byteLength % 4 === 0 ? data : paddedWords(data as Uint16Array));
  }

  /** Gives the memory back. A second call does nothing; views share the storage and go with it. */
  dispose(): void {
    this.device.release(this.storage);
  }
}

function paddedWords(data: Uint16Array): Uint16Array {
  const words = new Uint16Array(data.length + 1);
  words.set(data);
  return words;
}

/** A new tensor with undefined content. While recording it is virtual; in eager mode the current scope owns it. */
export function empty<D extends DType = "f32">(
  device: Device,
  shape: readonly number[],
  dtype: D = "f32" as D,
): Tensor<D> {
  const tensor = new Tensor(device, shape, dtype, device.allocate(byteSize(shape, dtype)));
  if (device.options.poison && !device.recorder)
    device.eager.write(tensor, new Uint32Array(tensor.bytes / 4).fill(0x7fc00000));
  return tensor;
}

/** Uploads host data (eager mode only); the current scope owns the tensor. */
export function upload<D extends DType>(
  device: Device,
  shape: readonly number[],
  dtype: D,
  data: TensorData<D>,
): Tensor<D> {
  if (device.recorder)
    throw new TensorError("RECORDING", "host data was uploaded while recording; it would be frozen into the program", {
      fix: "make it an input of the program, or a state tensor created before recording",
    });
  const tensor = new Tensor(device, shape, dtype, device.allocate(byteSize(shape, dtype)));
  tensor.write(data);
  return tensor;
}

/** A tensor that outlives scopes and programs (weights, gradients, optimizer state). Zero unless `data` is given. */
export function state<D extends DType>(
  device: Device,
  options: {
    shape: readonly number[];
    dtype: D;
    category: Category;
    label: string;
    data?: TensorData<D>;
  },
): Tensor<D> {
  const { shape, dtype, category, label, data } = options;
  if (device.recorder)
    throw new TensorError("RECORDING", `state ${label} was created while recording`, {
      fix: "create it before",
    });
  const tensor = new Tensor(device, shape, dtype, device.allocateState(byteSize(shape, dtype), category, label));
  if (device.virtual) return tensor;
  // lazy zeroing is off in production devices, so zeros are written
  if (data) tensor.write(data);
  else device.eager.clear(tensor);
  return tensor;
}

/** A window of a flat tensor: `shape` elements from element `start`, whose byte offset must be a multiple of 256. */
export function viewOf<D extends DType>(tensor: Tensor<D>, start: number, shape: readonly number[]): Tensor<D> {
  const byteOffset = tensor.byteOffset + start * BYTES_PER_ELEMENT[tensor.dtype];
  if (
    byteOffset % tensor.device.facts.offsetAlignment !== 0 ||
    byteOffset + byteSize(shape, tensor.dtype) > tensor.storage.bytes
  )
    throw new ShapeError({
      op: "viewOf",
      arg: "start",
      received: [start, ...shape],
      expected: tensor.shape,
      because: "a view starts at a multiple of 256 bytes and ends inside its tensor",
    });
  return new Tensor(tensor.device, shape, tensor.dtype, tensor.storage, byteOffset);
}
