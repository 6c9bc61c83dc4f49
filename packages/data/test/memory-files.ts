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
    list: async (path) => {
      const prefix = path === "." ? "" : path.endsWith("/") ? path : `${path}/`;
      const inside = [...files.keys()].filter((name) => name.startsWith(prefix) && !files.has(path));
      if (inside.length === 0) throw new InputError("FILE_MISSING", `${path}: there is no such folder`, { path });
      return [...new Set(inside.map((name) => name.slice(prefix.length).split("/")[0]!))].sort();
    },
    writeAtomic: async (path, chunks) => {
      const parts: Uint8Array[] = [];
      for await (const chunk of chunks) parts.push(chunk.slice());
      files.set(path, new Uint8Array(await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer()));
    },
    realPath: async (path) => path,
    join: (...parts) => parts.join("/"),
  };
}
