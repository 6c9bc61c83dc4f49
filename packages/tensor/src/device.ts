// One open GPU: pipelines, buffers, the queue, and which of the two modes is on (eager or recording).
// Everything above takes the device as an argument; nothing here is global.

import { BugError } from "@tunesmith/core";
import { BindGroupBudget } from "./bind-group-budget.ts";
import { Eager } from "./eager.ts";
import { TensorError } from "./errors.ts";
import { deviceFacts } from "./facts.ts";
import { FiniteCheck } from "./finite-check.ts";
import type { DeviceFacts } from "./facts.ts";
import { KernelChoices } from "./kernel-choices.ts";
import type { KernelCache } from "./kernel-choices.ts";
import { PipelineCache } from "./pipelines.ts";
import type { Profiler } from "./profile/profiler.ts";
import type { Recorder } from "./recorder.ts";
import type { Category } from "./storage.ts";
import { Storage } from "./storage.ts";
import type { SubmitLimit } from "./submit-cuts.ts";
import { Workspace } from "./workspace.ts";

/** Buffer usages by number: the constants are globals in browsers and missing in other hosts. */
export const USAGE = {
  mapRead: 0x1,
  copySrc: 0x4,
  copyDst: 0x8,
  uniform: 0x40,
  storage: 0x80,
  indirect: 0x100,
} as const;

export interface DeviceOptions {
  /** language features of the `GPU` object that made the adapter (`gpu.wgslLanguageFeatures`) */
  readonly languageFeatures?: { has(name: string): boolean };
  /** overrides single facts; for tests and for adapters that misreport */
  readonly facts?: Partial<DeviceFacts>;
  /** waits for a GPU promise; hosts that must pace their polling put it here */
  readonly settle?: <T>(promise: Promise<T>) => Promise<T>;
  /**
   * f32 (default), or mixed: operands of products are rounded to f16 where that is faster, on matrix units; sums stay
   * f32. Values beyond ±65504 become infinite, and gradients need a loss scale.
   */
  readonly compute?: "f32" | "mixed";
  /** where `autotune` leaves what it measured; whoever opens the device imports what is there */
  readonly kernelCache?: KernelCache;
  /** fills new eager tensors with NaN, so that an op that leaves elements unwritten is seen */
  readonly poison?: boolean;
  /** checks every f32 output of every launch for NaN and Inf and names the first bad one: `finite.first()` */
  readonly checkFinite?: boolean;
  /** states hold no memory and nothing runs: see `virtualDevice` */
  readonly virtual?: boolean;
  /** for a GPU that also drives a screen: replays are cut into submits below this. Default: a replay is one submit */
  readonly submitLimit?: SubmitLimit;
}

export class Device {
  readonly gpu: GPUDevice;
  readonly facts: DeviceFacts;
  readonly options: DeviceOptions;
  readonly pipelines: PipelineCache;
  readonly eager: Eager;
  /** which variant runs which class of products */
  readonly kernelChoices: KernelChoices;
  /** memory that all recorded programs share */
  readonly workspace: Workspace;
  /** bind groups of recorded programs */
  readonly bindGroups: BindGroupBudget;
  /** layout of the parameter block where immediates are missing */
  readonly paramsLayout: GPUBindGroupLayout | undefined;
  /** present in debug mode; see `checkingFinite` */
  finite: FiniteCheck | undefined;
  /** set while replays are timed; see `Profiler.start` */
  profiler: Profiler | undefined;
  /** set while `record` runs */
  recorder: Recorder | undefined;
  /** frees tensors of the innermost scope; see scope.ts */
  scope: Set<Storage> | undefined;
  /** live bytes by category, counted at creation and destruction */
  readonly bytes: Map<Category, number> = new Map();
  #error: TensorError | undefined;
  #pool = new Map<number, GPUBuffer[]>();
  readonly #virtualStates = new Set<Storage>();

  constructor(gpu: GPUDevice, info: GPUAdapterInfo, options: DeviceOptions = {}) {
    this.gpu = gpu;
    this.options = options;
    this.facts = {
      ...deviceFacts(gpu, info, options.languageFeatures ?? new Set<string>()),
      ...options.facts,
    };
    this.paramsLayout = this.facts.immediates
      ? undefined
      : gpu.createBindGroupLayout({
          label: "params",
          entries: [
            {
              binding: 0,
              visibility: 4,
              buffer: { type: "uniform", hasDynamicOffset: true, minBindingSize: 64 },
            },
          ],
        });
    this.pipelines = new PipelineCache(gpu, this.facts, this.paramsLayout, (promise) => this.settle(promise));
    this.eager = new Eager(this);
    this.kernelChoices = new KernelChoices(this.facts, options.compute ?? "f32");
    this.workspace = new Workspace(this);
    this.bindGroups = new BindGroupBudget(this.facts.maxBindGroups ?? Infinity);
    this.finite = options.checkFinite ? new FiniteCheck(this) : undefined;
    gpu.addEventListener("uncapturederror", (event) => {
      (event as { preventDefault?: () => void }).preventDefault?.(); // hosts print it otherwise, even to stdout
      const { error } = event as GPUUncapturedErrorEvent;
      const oom = error.constructor.name === "GPUOutOfMemoryError";
      this.#error ??= new TensorError(
        oom ? "OUT_OF_MEMORY" : "DEVICE_VALIDATION",
        `the GPU reported: ${error.message}`,
      );
    });
    void gpu.lost.then((lost) => {
      if (lost.reason === "destroyed") return;
      this.#error ??= new TensorError("DEVICE_LOST", `the GPU was lost: ${lost.message}`, {
        fix: "resume from the last checkpoint; if it happens again, lower train.batch_size",
      });
    });
  }

  /** plans, and runs nothing */
  get virtual(): boolean {
    return this.options.virtual === true;
  }

  /** Throws what the GPU reported since the last call, if anything. */
  check(): void {
    const error = this.#error;
    this.#error = undefined;
    if (error) throw error;
  }

  settle<T>(promise: Promise<T>): Promise<T> {
    return this.options.settle ? this.options.settle(promise) : promise;
  }

  /** Creates a buffer and counts its bytes. */
  createBuffer(bytes: number, usage: number, category: Category, label: string): GPUBuffer {
    if (bytes > this.gpu.limits.maxBufferSize)
      throw new TensorError(
        "OUT_OF_MEMORY",
        `${label}: ${bytes} bytes are more than this GPU allows in one buffer (${this.gpu.limits.maxBufferSize})`,
      );
    this.#count(category, bytes);
    return this.gpu.createBuffer({ label, size: bytes, usage });
  }

  destroyBuffer(buffer: GPUBuffer, category: Category): void {
    this.#count(category, -buffer.size);
    buffer.destroy();
  }

  #count(category: Category, bytes: number): void {
    this.bytes.set(category, (this.bytes.get(category) ?? 0) + bytes);
  }

  /** Storage for a new tensor: virtual while recording, else a pooled buffer owned by the current scope. */
  allocate(bytes: number): Storage {
    if (bytes > this.facts.maxBindingBytes)
      throw new TensorError(
        "OUT_OF_MEMORY",
        `a tensor of ${bytes} bytes exceeds the largest binding of this GPU (${this.facts.maxBindingBytes})`,
        {
          fix: "use fewer tokens per micro-batch (train.batch_size or data.max_length)",
        },
      );
    if (this.recorder) return this.recorder.allocate(bytes);
    const size = sizeClass(bytes);
    const buffer =
      this.#pool.get(size)?.pop() ??
      this.createBuffer(size, USAGE.storage | USAGE.copySrc | USAGE.copyDst | USAGE.indirect, "workspace", "eager");
    const storage = new Storage(bytes, "workspace", buffer, false);
    this.scope?.add(storage);
    return storage;
  }

  /** Storage that lives until it is disposed, whatever scope or recording is active. */
  allocateState(bytes: number, category: Category, label: string): Storage {
    if (this.virtual) {
      this.#count(category, bytes);
      const storage = new Storage(bytes, category, undefined, true);
      this.#virtualStates.add(storage);
      return storage;
    }
    const usage = USAGE.storage | USAGE.copySrc | USAGE.copyDst | USAGE.indirect;
    return new Storage(bytes, category, this.createBuffer(bytes, usage, category, label), true);
  }

  /** Gives a storage's buffer back; work that was launched on it still runs first. */
  release(storage: Storage): void {
    const buffer = storage.buffer;
    if (this.#virtualStates.delete(storage)) this.#count(storage.category, -storage.bytes);
    if (!buffer) return;
    storage.buffer = undefined;
    this.scope?.delete(storage);
    if (storage.persistent) {
      this.eager.flush();
      this.destroyBuffer(buffer, storage.category);
    } else {
      const size = buffer.size;
      const free = this.#pool.get(size);
      if (free) free.push(buffer);
      else this.#pool.set(size, [buffer]);
    }
  }

  /** Destroys pooled buffers that no tensor uses. */
  trim(): void {
    this.eager.flush();
    for (const buffers of this.#pool.values()) for (const b of buffers) this.destroyBuffer(b, "workspace");
    this.#pool.clear();
  }

  /** Resolves when everything submitted so far has run. */
  async idle(): Promise<void> {
    if (this.virtual) return;
    this.eager.flush();
    await this.settle(this.gpu.queue.onSubmittedWorkDone());
    this.check();
  }

  destroy(): void {
    if (this.recorder) throw new BugError("the device is destroyed while a program is being recorded");
    this.gpu.destroy();
  }
}

/** Pooled sizes: powers of two and the steps 1.25, 1.5, 1.75 between them, at least 256 bytes. */
function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const power = 2 ** Math.floor(Math.log2(bytes));
  return [1, 1.25, 1.5, 1.75, 2].map((f) => Math.ceil((power * f) / 16) * 16).find((s) => s >= bytes)!;
}
