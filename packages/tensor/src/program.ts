// A recorded program: planned once, replayed many times. In steady state a replay creates no buffer, no bind
// group and no pipeline, makes one submit, and waits for nothing.

import { BugError } from "@tunesmith/core";
import { mapForRead } from "./eager.ts";
import type { Device } from "./device.ts";
import { USAGE } from "./device.ts";
import { asElements, BYTES_PER_ELEMENT } from "./dtype.ts";
import type { TensorData } from "./dtype.ts";
import { ShapeError, TensorError } from "./errors.ts";
import type { Launch } from "./launch.ts";
import { plan } from "./plan.ts";
import type { Plan, Recording } from "./plan.ts";
import { Profiler } from "./profile/profiler.ts";
import type { ProfilerOptions, TimedReplay } from "./profile/profiler.ts";
import type { Profile } from "./profile/profile.ts";
import type { ChromeTrace } from "./profile/trace.ts";
import { SubmitCuts } from "./submit-cuts.ts";
import type { Tensor } from "./tensor.ts";

const PARAM_SLOT = 256;
const NO_OUTPUTS: Pending = { read: () => Promise.resolve({}) };
/** no cut inside a replay */
const WHOLE: readonly number[] = [];

/** Values of a replay that is on its way. */
export interface Pending<Name extends string = string> {
  /**
   * Waits for this replay alone and copies its outputs to the host. Call it once, and before `inFlight` further replays
   * of the program: they overwrite what nobody asked for.
   */
  read(): Promise<Record<Name, TensorData>>;
}

/** One dispatch with everything that its encoding needs. */
interface Step {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly params: Uint32Array<ArrayBuffer> | undefined;
  readonly offsets: readonly [number];
  readonly x: number;
  readonly y: number;
  readonly indirect: GPUBuffer | undefined;
  readonly indirectOffset: number;
}

/** A replay whose outputs are in a staging buffer; undefined once they are gone. */
interface Unread {
  staging: GPUBuffer | undefined;
}

/** The bytes of a tensor. */
interface BufferRange {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
}

/** What a replay needs, made anew only when slots were replaced. */
interface Prepared {
  readonly version: number;
  readonly steps: readonly Step[];
  readonly inputs: readonly { name: string; tensor: Tensor; at: BufferRange | undefined }[];
  readonly outputs: readonly BufferRange[];
}

export class Program {
  readonly label: string;
  readonly plan: Plan;
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly outputs: ReadonlyMap<string, Tensor>;
  /** replays whose outputs may be waiting to be read at one time */
  readonly inFlight: number;
  readonly #device: Device;
  readonly #cuts: SubmitCuts | undefined;
  /** settles when all that was submitted has run */
  readonly #done = (): Promise<unknown> => this.#device.settle(this.#device.gpu.queue.onSubmittedWorkDone());
  #prepared: Prepared | undefined;
  #params: { buffer: GPUBuffer; group: GPUBindGroup } | undefined;
  #staging: { readonly all: readonly GPUBuffer[]; readonly free: GPUBuffer[]; readonly unread: Unread[] } | undefined;

  constructor(device: Device, label: string, recording: Recording & { readonly inFlight: number }) {
    this.#device = device;
    this.label = label;
    this.inputs = recording.inputs;
    this.outputs = recording.outputs;
    this.inFlight = recording.inFlight;
    this.plan = plan(recording, device.pipelines);
    const { submitLimit } = device.options;
    this.#cuts = submitLimit && new SubmitCuts(submitLimit, this.plan.launches.length);
  }

  /** bytes of the buffers that outputs wait in to be read: one set for each replay in flight */
  get stagingBytes(): number {
    return this.inFlight * this.#outputBytes;
  }

  /** bytes of the parameter block, 0 where sizes travel as immediates */
  get uniformBytes(): number {
    return this.#device.paramsLayout ? this.plan.launches.length * PARAM_SLOT : 0;
  }

  get #outputBytes(): number {
    let bytes = 0;
    for (const tensor of this.outputs.values()) bytes += tensor.bytes;
    return bytes;
  }

  /**
   * The program as text: kernels, parameters and data flow, with storages numbered by first use. Two recordings
   * that differ in a per-step value must agree (else the value was baked in).
   */
  fingerprint(): string {
    const numbers = new Map<number, number>();
    const name = (t: Tensor): string => {
      if (t.storage.persistent) return `s${t.storage.id}+${t.byteOffset}`;
      let n = numbers.get(t.storage.id);
      if (n === undefined) numbers.set(t.storage.id, (n = numbers.size));
      return `v${n}+${t.byteOffset}`;
    };
    return this.plan.launches
      .map(
        (l) =>
          `${l.variant.label}(${[...l.params].join(",")})[${l.groups.join(",")}] ${l.bindings.map(name).join(" ")}`,
      )
      .join("\n");
  }

  /** Compiles all pipelines and reserves memory; `replay` does it on first use otherwise. */
  async prepare(): Promise<void> {
    await this.#device.pipelines.prepare(this.plan.launches.map((l) => l.variant));
    this.#bind();
  }

  /**
   * Writes the inputs, submits the program and starts copying its outputs.
   * @param values - one array per declared input, of its exact length
   */
  replay(values: Readonly<Record<string, TensorData>> = {}): Pending {
    const device = this.#device;
    device.eager.flush();
    const prepared = this.#bind();
    this.#writeInputs(prepared, values);
    const staging = this.#takeStaging();

    const { steps } = prepared;
    const timed = steps.length > 0 ? device.profiler?.replay(this, values) : undefined;
    let first = 0;
    for (const end of this.#cuts?.next() ?? WHOLE) {
      const encoder = device.gpu.createCommandEncoder({ label: this.label });
      this.#encode(encoder, steps, first, end, timed);
      device.gpu.queue.submit([encoder.finish()]);
      this.#cuts!.submitted(this.#done, end);
      first = end;
    }
    const encoder = device.gpu.createCommandEncoder({ label: this.label });
    this.#encode(encoder, steps, first, steps.length, timed);
    timed?.finish(encoder);
    if (staging) {
      let offset = 0;
      for (const output of prepared.outputs) {
        encoder.copyBufferToBuffer(output.buffer, output.offset, staging, offset, output.size);
        offset += output.size;
      }
    }
    device.gpu.queue.submit([encoder.finish()]);
    this.#cuts?.submitted(this.#done, steps.length);
    timed?.submitted();
    if (!staging) return NO_OUTPUTS;
    const unread: Unread = { staging };
    this.#staging!.unread.push(unread);
    return { read: () => this.#read(unread) };
  }

  /**
   * Replays the program with the GPU's clock around every dispatch. The replays are real: states are updated each time.
   *
   * @param options.replays - how many count, beside one before them that compiles; default 5
   * @throws TensorError `PROFILER_UNAVAILABLE`, `PROFILER_ACTIVE`
   */
  async profile(
    values: Readonly<Record<string, TensorData>>,
    options: ProfilerOptions & { readonly replays?: number },
  ): Promise<{ profile: Profile; trace: ChromeTrace }> {
    const profiler = await Profiler.start(this.#device, options);
    try {
      for (let i = 0; i <= (options.replays ?? 5); i++) await this.replay(values).read();
    } catch (error) {
      await profiler.stop().catch(() => {}); // the first error tells the story
      throw error;
    }
    return await profiler.stop();
  }

  /** Frees staging and parameters; the shared slots stay with the device. */
  dispose(): void {
    for (const buffer of this.#staging?.all ?? []) this.#device.destroyBuffer(buffer, "staging");
    if (this.#params) this.#device.destroyBuffer(this.#params.buffer, "uniforms");
    this.#staging = undefined;
    this.#device.bindGroups.forget(this);
    this.#params = undefined;
    this.#prepared = undefined;
  }

  /** Part of {@link BindGroupBudget}: the next replay makes them again. */
  dropGroups(): void {
    this.#prepared = undefined;
  }

  /** Encodes a range of dispatches: in one pass, or each in a pass of its own where they are timed. */
  #encode(
    encoder: GPUCommandEncoder,
    steps: readonly Step[],
    first: number,
    end: number,
    timed: TimedReplay | undefined,
  ): void {
    if (first >= end) return;
    if (!timed) return this.#encodePass(encoder.beginComputePass(), steps, first, end);
    for (let i = first; i < end; i++) {
      this.#encodePass(timed.beginPass(encoder, i), steps, i, i + 1);
      const { indirect, indirectOffset } = steps[i]!;
      if (indirect) timed.keepCounts(encoder, i, indirect, indirectOffset);
    }
  }

  /** A plain loop over prepared values: it allocates nothing. */
  #encodePass(pass: GPUComputePassEncoder, steps: readonly Step[], first: number, end: number): void {
    const uniforms = this.#params?.group;
    let pipeline: GPUComputePipeline | undefined;
    let group: GPUBindGroup | undefined;
    for (let i = first; i < end; i++) {
      const step = steps[i]!;
      if (step.pipeline !== pipeline) pass.setPipeline((pipeline = step.pipeline));
      if (step.group !== group) pass.setBindGroup(0, (group = step.group));
      if (step.params !== undefined) {
        if (uniforms === undefined) pass.setImmediates(0, step.params);
        else pass.setBindGroup(1, uniforms, step.offsets);
      }
      if (step.indirect === undefined) pass.dispatchWorkgroups(step.x, step.y);
      else pass.dispatchWorkgroupsIndirect(step.indirect, step.indirectOffset);
    }
    pass.end();
  }

  /** A buffer for this replay's outputs; all of them are made before the first replay. */
  #takeStaging(): GPUBuffer | undefined {
    const bytes = this.#outputBytes;
    if (bytes === 0) return undefined;
    if (!this.#staging) {
      const all = Array.from({ length: this.inFlight }, () =>
        this.#device.createBuffer(bytes, USAGE.mapRead | USAGE.copyDst, "staging", this.label),
      );
      this.#staging = { all, free: [...all], unread: [] };
    }
    const { free, unread } = this.#staging;
    const staging = free.pop() ?? unread[0]?.staging;
    if (!staging)
      throw new BugError(`${this.label}: ${this.inFlight} replays are being read, as many as it was recorded for`);
    if (unread[0]?.staging === staging) unread.shift()!.staging = undefined;
    return staging;
  }

  async #read(unread: Unread): Promise<Record<string, TensorData>> {
    const { staging } = unread;
    if (!staging)
      throw new TensorError("TENSOR_DISPOSED", `${this.label}: these outputs were read already, or overwritten since`, {
        expected: `one read, before ${this.inFlight} further replays`,
        fix: "read each replay once, or record the program with a larger inFlight",
      });
    unread.staging = undefined;
    this.#staging?.unread.splice(this.#staging.unread.indexOf(unread), 1);
    await mapForRead(this.#device, staging, `reading the outputs of ${this.label}`);
    const bytes = staging.getMappedRange();
    const result: Record<string, TensorData> = {};
    let offset = 0;
    for (const [name, tensor] of this.outputs) {
      // mapped memory is detached at unmap: copy out
      const copy = bytes.slice(offset, offset + tensor.size * BYTES_PER_ELEMENT[tensor.dtype]);
      result[name] = asElements(copy, tensor.dtype, tensor.size);
      offset += tensor.bytes;
    }
    staging.unmap();
    this.#staging?.free.push(staging);
    return result;
  }

  #writeInputs({ inputs }: Prepared, values: Readonly<Record<string, TensorData>>): void {
    for (const { name, tensor, at } of inputs) {
      const data = values[name];
      if (!data || data.length !== tensor.size)
        throw new ShapeError({
          op: this.label,
          arg: `input ${name}`,
          received: [data?.length ?? 0],
          expected: tensor.shape,
          because: "a replay gives every declared input in full",
        });
      if (!at) continue; // declared, but nothing reads it
      const even = data.byteLength % 4 === 0;
      const bytes = even ? data : Uint16Array.from([...(data as Uint16Array), 0]);
      this.#device.gpu.queue.writeBuffer(at.buffer, at.offset, bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    for (const name in values)
      if (!this.inputs.has(name))
        throw new ShapeError({
          op: this.label,
          arg: name,
          received: [],
          expected: [...this.inputs.keys()],
          because: "the program declares no such input",
        });
  }

  #range(tensor: Tensor): BufferRange {
    const { storage, byteOffset, bytes: size } = tensor;
    if (storage.buffer) return { buffer: storage.buffer, offset: byteOffset, size };
    const place = this.plan.places.get(storage);
    if (place === undefined)
      throw new BugError(
        `${this.label}: a tensor of shape [${tensor.shape.join(", ")}] was made outside the recording and is not a state, or was disposed`,
      );
    return { buffer: this.#device.workspace.slot(place.slot), offset: place.offset + byteOffset, size };
  }

  #bind(): Prepared {
    const device = this.#device;
    const { workspace } = device;
    device.bindGroups.use(this, this.plan.launches.length);
    if (this.#prepared?.version === workspace.version) return this.#prepared;
    workspace.reserve(this.plan.slots);
    const { launches, places } = this.plan;
    if (device.paramsLayout && !this.#params && launches.length > 0)
      this.#params = this.#uploadParams(device.paramsLayout);
    const steps = launches.map((launch, i): Step => {
      const indirect = launch.indirect && this.#range(launch.indirect);
      return {
        pipeline: device.pipelines.get(launch.variant),
        group: this.#bindGroup(launch),
        params: launch.variant.hasParams ? launch.params : undefined,
        offsets: [i * PARAM_SLOT],
        x: launch.groups[0],
        y: launch.groups[1],
        indirect: indirect?.buffer,
        indirectOffset: indirect?.offset ?? 0,
      };
    });
    return (this.#prepared = {
      version: workspace.version,
      steps,
      inputs: [...this.inputs].map(([name, tensor]) => ({
        name,
        tensor,
        at: places.has(tensor.storage) ? this.#range(tensor) : undefined,
      })),
      outputs: [...this.outputs.values()].map((tensor) => this.#range(tensor)),
    });
  }

  #bindGroup(launch: Launch): GPUBindGroup {
    return this.#device.gpu.createBindGroup({
      label: launch.variant.label,
      layout: launch.variant.layout,
      entries: launch.bindings.map((tensor, binding) => ({ binding, resource: { ...this.#range(tensor) } })),
    });
  }

  #uploadParams(layout: GPUBindGroupLayout): { buffer: GPUBuffer; group: GPUBindGroup } {
    const words = new Uint32Array(this.uniformBytes / 4);
    for (const [i, launch] of this.plan.launches.entries()) words.set(launch.params, (i * PARAM_SLOT) / 4);
    const buffer = this.#device.createBuffer(
      words.byteLength,
      USAGE.uniform | USAGE.copyDst,
      "uniforms",
      `${this.label} params`,
    );
    this.#device.gpu.queue.writeBuffer(buffer, 0, words);
    const group = this.#device.gpu.createBindGroup({
      layout,
      entries: [{ binding: 0, resource: { buffer, size: 64 } }],
    });
    return { buffer, group };
  }
}
