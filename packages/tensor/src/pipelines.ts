// Pipelines by (kernel, specialization), with explicit layouts by binding signature: bind groups then fit every
// kernel of the same signature, and the uniform fallback for parameters can use a dynamic offset.

import { TensorError } from "./errors.ts";
import type { DeviceFacts } from "./facts.ts";
import { assembleWgsl } from "./kernel.ts";
import type { Kernel, Spec } from "./kernel.ts";

export interface Variant {
  readonly kernel: Kernel;
  readonly spec: Spec;
  readonly label: string;
  readonly layout: GPUBindGroupLayout;
  readonly hasParams: boolean;
  pipeline: GPUComputePipeline | undefined;
}

export class PipelineCache {
  readonly #gpu: GPUDevice;
  readonly #facts: DeviceFacts;
  readonly #variants = new Map<Kernel, Map<string, Variant>>();
  readonly #layouts = new Map<
    string,
    { bindings: GPUBindGroupLayout; plain: GPUPipelineLayout; withParams: GPUPipelineLayout }
  >();
  readonly #paramsLayout: GPUBindGroupLayout | undefined;
  readonly #settle: <T>(promise: Promise<T>) => Promise<T>;

  /** @param settle - waits for a GPU promise as the host wants it */
  constructor(
    gpu: GPUDevice,
    facts: DeviceFacts,
    paramsLayout: GPUBindGroupLayout | undefined,
    settle: <T>(promise: Promise<T>) => Promise<T>,
  ) {
    this.#settle = settle;
    this.#gpu = gpu;
    this.#facts = facts;
    this.#paramsLayout = paramsLayout;
  }

  /** Distinct pipelines asked for so far. */
  get size(): number {
    let n = 0;
    for (const m of this.#variants.values()) n += m.size;
    return n;
  }

  /** The variant without its pipeline: cheap, used while recording. */
  variant(kernel: Kernel, spec: Spec): Variant {
    let bySpec = this.#variants.get(kernel);
    if (!bySpec) this.#variants.set(kernel, (bySpec = new Map()));
    const key = JSON.stringify(spec);
    let found = bySpec.get(key);
    if (!found) {
      const reads = Object.keys(kernel.reads).length;
      const writes = Object.keys(kernel.writes).length + Object.keys(kernel.updates).length;
      const label = key === "{}" ? kernel.label : `${kernel.label}${key}`;
      const hasParams = Object.keys(kernel.params).length > 0;
      found = {
        kernel,
        spec,
        label,
        layout: this.#layout(reads, writes).bindings,
        hasParams,
        pipeline: undefined,
      };
      bySpec.set(key, found);
    }
    return found;
  }

  /** The pipeline, compiled now if it was not. On software Vulkan the cost is paid at its first dispatch. */
  get(variant: Variant): GPUComputePipeline {
    return (variant.pipeline ??= this.#gpu.createComputePipeline(this.#descriptor(variant)));
  }

  /** Compiles several variants side by side. */
  async prepare(variants: Iterable<Variant>): Promise<void> {
    const missing = [...new Set(variants)].filter((v) => !v.pipeline);
    await Promise.all(
      missing.map(async (v) => {
        try {
          v.pipeline = await this.#settle(this.#gpu.createComputePipelineAsync(this.#descriptor(v)));
        } catch (cause) {
          throw new TensorError("DEVICE_VALIDATION", `compiling kernel ${v.label} failed: ${String(cause)}`, { cause });
        }
      }),
    );
  }

  #descriptor(variant: Variant): GPUComputePipelineDescriptor {
    const { kernel, spec, label } = variant;
    const reads = Object.keys(kernel.reads).length;
    const writes = Object.keys(kernel.writes).length + Object.keys(kernel.updates).length;
    const layouts = this.#layout(reads, writes);
    const module = this.#gpu.createShaderModule({
      label,
      code: assembleWgsl(kernel, spec, this.#facts),
    });
    return {
      label,
      layout: variant.hasParams ? layouts.withParams : layouts.plain,
      compute: { module, entryPoint: "main" },
    };
  }

  #layout(
    reads: number,
    writes: number,
  ): { bindings: GPUBindGroupLayout; plain: GPUPipelineLayout; withParams: GPUPipelineLayout } {
    const key = `${reads},${writes}`;
    let found = this.#layouts.get(key);
    if (!found) {
      const entries = Array.from({ length: reads + writes }, (_, binding) => ({
        binding,
        visibility: 4, // GPUShaderStage.COMPUTE; the constant is not a global everywhere
        buffer: { type: binding < reads ? ("read-only-storage" as const) : ("storage" as const) },
      }));
      const bindings = this.#gpu.createBindGroupLayout({ label: `bindings ${key}`, entries });
      const immediates = this.#facts.immediates ? { immediateSize: 64 } : {};
      const plain = this.#gpu.createPipelineLayout({ bindGroupLayouts: [bindings] });
      const withParams = this.#gpu.createPipelineLayout({
        bindGroupLayouts: this.#paramsLayout ? [bindings, this.#paramsLayout] : [bindings],
        ...immediates,
      });
      this.#layouts.set(key, (found = { bindings, plain, withParams }));
    }
    return found;
  }
}
