import { quote, SafetensorsError } from "./errors.ts";
import type { Header, TensorInfo } from "./header.ts";

/**
 * Checks that the data ranges cover the data section from its start to the end of the file, without a
 * hole and without overlap: no byte of the file is outside a tensor, so it cannot be something else besides.
 *
 * @param header - entries with their own sizes checked
 * @param dataStart - position of the data section in the file
 * @param fileSize - bytes
 */
export function checkLayout(header: Header, dataStart: number, fileSize: number, path: string): void {
  const fix = "the file is damaged or was written by a faulty program; download or export it again";
  let end = dataStart;
  let previous: string | undefined;
  for (const [name, info] of byPosition(header.tensors)) {
    if (info.start !== end) {
      const overlap = info.start < end;
      const before = previous === undefined ? "the data section starts" : `the data of ${quote(previous)} ends`;
      const what = overlap
        ? "begins inside the data of another tensor"
        : "leaves bytes before it that belong to no tensor";
      const message = `${path}: tensor ${quote(name)} ${what}: it begins at byte ${info.start}, ${before} at byte ${end}`;
      const about = { path, tensor: name, offset: Math.min(info.start, end), fix };
      throw new SafetensorsError(overlap ? "DATA_OVERLAP" : "DATA_HOLE", message, about);
    }
    end = info.end;
    previous = name;
  }
  if (end > fileSize) {
    const message = `${path}: the data of ${quote(previous!)} ends at byte ${end}, the file has ${fileSize}`;
    const details = {
      expected: `${end} bytes`,
      received: `${fileSize} bytes`,
      fix: "the file is cut off; download it again",
    };
    throw new SafetensorsError("DATA_BEYOND_FILE", message, { path, tensor: previous, offset: fileSize, ...details });
  }
  if (end < fileSize) {
    const message = `${path}: ${fileSize - end} bytes after the last tensor, from byte ${end}`;
    const details = { expected: `${end} bytes`, received: `${fileSize} bytes`, fix };
    throw new SafetensorsError("TRAILING_BYTES", message, { path, offset: end, ...details });
  }
}

/** Entries by start, then end (an empty tensor sits before the one that starts where it does). */
function byPosition(tensors: ReadonlyMap<string, TensorInfo>): Iterable<[string, TensorInfo]> {
  let last: TensorInfo | undefined;
  for (const info of tensors.values()) {
    if (last && (info.start < last.start || (info.start === last.start && info.end < last.end))) {
      return [...tensors].sort(([, a], [, b]) => a.start - b.start || a.end - b.end);
    }
    last = info;
  }
  return tensors; // the usual case: writers list tensors in the order of their data
}
