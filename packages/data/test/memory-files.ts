import { type Files, InputError } from "@tunesmith/core";

/** `Files` on a Map. */
export function memoryFiles(contents: Readonly<Record<string, string | Uint8Array>>): Files {
  const files = new Map(
    Object.entries(contents).map(([path, content]) => [
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    ]),
  );
  return {
    open: async (path) => {
      const bytes = files.get(path);
      if (bytes === undefined) throw new InputError("FILE_MISSING", `${path}: there is no such file`, { path });
      const read = async (offset: number, length: number): Promise<Uint8Array> => bytes.slice(offset, offset + length);
      return { path, size: bytes.length, read, close: async () => {} };
    },
    exists: async (path) => files.has(path),
    list: async () => [...files.keys()].sort(),
    writeAtomic: () => Promise.reject(new Error("read only")),
    realPath: async (path) => path,
    join: (...parts) => parts.join("/"),
  };
}
