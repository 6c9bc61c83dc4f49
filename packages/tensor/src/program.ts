// A recorded program: planned once, replayed many times. In steady state a replay creates no buffer, no bind
// group and no pipeline, makes one submit, and waits for nothing.

import { BugError } from "@tunesmith/core";
import { mapForRead } from "./eager.ts";
import type { Device } from "./device.ts";
import { USAGE } from "./device.ts";
import { asElements, BYTES_PER_ELEMENT } from "./dtype.ts";
import type { TensorData } from "./dtype.ts";
import { ShapeError } from "./errors.ts";
import type { Launch } from "./launch.ts";
import { plan } from "./plan.ts";
import type { Plan } from "./plan.ts";
import { Profiler } from "./profile/profiler.ts";
import type { ProfilerOptions } from "./profile/profiler.ts";
import type { Profile } from "./profile/profile.ts";
import type { ChromeTrace } from "./profile/trace.ts";
import type { Tensor } from "./tensor.ts";

const PARAM_SLOT = 256;

/** Values of a replay that is on its way. */
export interface Pending<Name extends string = string> {
  /** Waits for this replay alone and copies its outputs to the host. Call it once. */
  read(): Promise<Record<Name, TensorData>>;
}

interface Prepared {
  readonly version: number;
  readonly groups: readonly GPUBindGroup[];
}

export class Program {
  readonly label: string;
  readonly plan: Plan;
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly outputs: ReadonlyMap<string, Tensor>;
  readonly #device: Device;
  #prepared: Prepared | undefined;
  #params: { buffer: GPUBuffer; group: GPUBindGroup } | undefined;
  readonly #staging: GPUBuffer[] = [];

  constructor(
    device: Device,
    label: string,
    recorded: readonly Launch[],
    inputs: ReadonlyMap<string, Tensor>,
    outputs: ReadonlyMap<string, Tensor>,
  ) {
    this.#device = device;
    this.label = label;
    this.inputs = inputs;
    this.outputs = outputs;
    this.plan = plan(recorded, inputs.values(), outputs.values());
  }

  /** bytes of one set of outputs on the host side */
  get stagingBytes(): number {
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
    const { groups } = this.#bind();
    this.#writeInputs(values);

    const encoder = device.gpu.createCommandEncoder({ label: this.label });
    const { launches } = this.plan;
    const timed = launches.length > 0 ? device.profiler?.replay(this, values) : undefined;
    if (timed)
      timed.encode(
        encoder,
        (pass, at) => this.#dispatch(pass, launches[at]!, at, groups[at]!),
        (tensor) => this.#buffer(tensor),
      );
    else if (launches.length > 0) {
      const pass = encoder.beginComputePass({ label: this.label });
      for (const [at, launch] of launches.entries()) this.#dispatch(pass, launch, at, groups[at]!);
      pass.end();
    }
    let staging: GPUBuffer | undefined;
    if (this.outputs.size > 0) {
      staging =
        this.#staging.pop() ??
        device.createBuffer(this.stagingBytes, USAGE.mapRead | USAGE.copyDst, "staging", this.label);
      let offset = 0;
      for (const tensor of this.outputs.values()) {
        encoder.copyBufferToBuffer(this.#buffer(tensor), tensor.byteOffset, staging, offset, tensor.bytes);
        offset += tensor.bytes;
      }
    }
    device.gpu.queue.submit([encoder.finish()]);
    timed?.submitted();
    return { read: () => this.#readStaging(staging) };
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

  #dispatch(pass: GPUComputePassEncoder, launch: Launch, at: number, group: GPUBindGroup): void {
    const { variant, indirect, groups, params } = launch;
    pass.setPipeline(this.#device.pipelines.get(variant));
    pass.setBindGroup(0, group);
    if (variant.hasParams) {
      if (this.#params) pass.setBindGroup(1, this.#params.group, [at * PARAM_SLOT]);
      else pass.setImmediates(0, params);
    }
    if (indirect) pass.dispatchWorkgroupsIndirect(this.#buffer(indirect), indirect.byteOffset);
    else pass.dispatchWorkgroups(groups[0], groups[1]);
  }

  /** Frees staging and parameters; the shared slots stay with the device. */
  dispose(): void {
    for (const buffer of this.#staging.splice(0)) this.#device.destroyBuffer(buffer, "staging");
    if (this.#params) this.#device.destroyBuffer(this.#params.buffer, "state");
    this.#params = undefined;
    this.#prepared = undefined;
  }

  async #readStaging(staging: GPUBuffer | undefined): Promise<Record<string, TensorData>> {
    if (!staging) return {};
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
    this.#staging.push(staging);
    return result;
  }

  #writeInputs(values: Readonly<Record<string, TensorData>>): void {
    for (const [name, tensor] of this.inputs) {
      const data = values[name];
      if (!data || data.length !== tensor.size)
        throw new ShapeError({
          op: this.label,
          arg: `input ${name}`,
          received: [data?.length ?? 0],
          expected: tensor.shape,
          because: "a replay gives every declared input in full",
        });
      if (!this.plan.placement.has(tensor.storage)) continue; // declared, but nothing reads it
      const even = data.byteLength % 4 === 0;
      const bytes = even ? data : Uint16Array.from([...(data as Uint16Array), 0]);
      this.#device.gpu.queue.writeBuffer(
        this.#buffer(tensor),
        tensor.byteOffset,
        bytes.buffer,
        bytes.byteOffset,
        bytes.byteLength,
      );
    }
    for (const name of Object.keys(values))
      if (!this.inputs.has(name))
        throw new ShapeError({
          op: this.label,
          arg: name,
          received: [],
          expected: [...this.inputs.keys()],
          because: "the program declares no such input",
        });
  }

  #buffer(tensor: Tensor): GPUBuffer {
    const { storage } = tensor;
    if (storage.buffer) return storage.buffer;
    const slot = this.plan.placement.get(storage);
    if (slot === undefined)
      throw new BugError(
        `${this.label}: a tensor of shape [${tensor.shape.join(", ")}] was made outside the recording and is not a state, or was disposed`,
      );
    return this.#device.workspace.slot(slot);
  }

  #bind(): Prepared {
    const device = this.#device;
    const { workspace } = device;
    if (this.#prepared?.version === workspace.version) return this.#prepared;
    workspace.reserve(this.plan.slots);
    const groups = this.plan.launches.map((launch) =>
      device.gpu.createBindGroup({
        label: launch.variant.label,
        layout: launch.variant.layout,
        entries: launch.bindings.map((tensor, binding) => ({
          binding,
          resource: { buffer: this.#buffer(tensor), offset: tensor.byteOffset, size: tensor.bytes },
        })),
      }),
    );
    if (device.paramsLayout && !this.#params && this.plan.launches.length > 0)
      this.#params = this.#uploadParams(device.paramsLayout);
    return (this.#prepared = { version: workspace.version, groups });
  }

  #uploadParams(layout: GPUBindGroupLayout): { buffer: GPUBuffer; group: GPUBindGroup } {
    const words = new Uint32Array((this.plan.launches.length * PARAM_SLOT) / 4);
    for (const [i, launch] of this.plan.launches.entries()) words.set(launch.params, (i * PARAM_SLOT) / 4);
    const buffer = this.#device.createBuffer(
      words.byteLength,
      USAGE.uniform | USAGE.copyDst,
      "state",
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
