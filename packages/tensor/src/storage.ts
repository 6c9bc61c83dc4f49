// Where a tensor's bytes live. Physical: one GPU buffer, whole. Virtual: a promise made while recording,
// which the planner later places in a shared slot.

let nextId = 1;

/** What the bytes are for; the categories of the memory plan. */
export type Category =
  | "weights"
  | "adapter"
  | "gradients"
  | "optimizer"
  | "state"
  | "activations"
  | "workspace"
  | "staging"
  | "uniforms";

export class Storage {
  readonly id: number = nextId++;
  /** multiple of 16 */
  readonly bytes: number;
  readonly category: Category;
  /** undefined while virtual */
  buffer: GPUBuffer | undefined;
  /** true for tensors that outlive scopes and programs */
  readonly persistent: boolean;

  constructor(bytes: number, category: Category, buffer: GPUBuffer | undefined, persistent: boolean) {
    this.bytes = bytes;
    this.category = category;
    this.buffer = buffer;
    this.persistent = persistent;
  }
}
