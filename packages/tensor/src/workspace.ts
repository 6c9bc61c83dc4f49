import type { Device } from "./device.ts";
import { USAGE } from "./device.ts";

/**
 * The slots that all programs of a device share: slot i is as large as the largest i-th slot any prepared program
 * asks for. Programs run one after the other on one queue, so none sees another's data.
 */
export class Workspace {
  readonly #device: Device;
  readonly #buffers: GPUBuffer[] = [];
  /** changes when a buffer was replaced: bind groups made before are stale */
  version = 0;

  constructor(device: Device) {
    this.#device = device;
  }

  /** bytes of all slots */
  get bytes(): number {
    return this.#buffers.reduce((sum, b) => sum + b.size, 0);
  }

  /** Grows slots to at least `sizes` (largest first). */
  reserve(sizes: readonly number[]): void {
    for (const [i, size] of sizes.entries()) {
      const old = this.#buffers[i];
      if (old && old.size >= size) continue;
      if (old) this.#device.destroyBuffer(old, "workspace");
      const usage = USAGE.storage | USAGE.copySrc | USAGE.copyDst | USAGE.indirect;
      this.#buffers[i] = this.#device.createBuffer(size, usage, "workspace", `slot ${i}`);
      this.version++;
    }
  }

  slot(i: number): GPUBuffer {
    return this.#buffers[i]!;
  }

  /** Gives all slots back; programs reserve them again at their next replay. */
  release(): void {
    for (const buffer of this.#buffers.splice(0)) this.#device.destroyBuffer(buffer, "workspace");
    this.version++;
  }
}
