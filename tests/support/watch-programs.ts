// Tells a test which recorded program is about to run.
import type { Device } from "@tunesmith/tensor";

/**
 * Calls `seen` before each submit of a program, with the program's label.
 * @returns ends it
 */
export function watchPrograms({ gpu }: Device, seen: (label: string) => void): () => void {
  const create = gpu.createCommandEncoder.bind(gpu);
  gpu.createCommandEncoder = (descriptor) => {
    if (descriptor?.label !== undefined) seen(descriptor.label);
    return create(descriptor);
  };
  return () => void (gpu.createCommandEncoder = create);
}
