// A disk in memory that fails on request, with the shape of @tunesmith/node's `Disk` but without importing it. It knows what
// is durable: bytes once their file was synced, names once their folder was. `crashed` gives the disk that a new process
// finds.

/** What may go wrong at one operation. */
export const FAULTS = ["killed before", "killed after", "ENOSPC", "EIO", "short write", "lost write"] as const;
/** `short write`: fewer bytes are taken, and said so; `lost write`: fewer are taken, and all are claimed. */
export type Fault = (typeof FAULTS)[number];

/**
 * What is found after a crash.
 * - process: everything that was done; the system went on
 * - power: only what was synced
 * - names first: names as they were last, with only the bytes that were synced
 * - removals first: what was synced, without the names that were removed since
 * - mixed: each name old or new, each file's bytes old or new, drawn from a seed
 */
export const CRASHES = ["process", "power", "names first", "removals first", "mixed"] as const;
export type Crash = (typeof CRASHES)[number];

interface FileNode {
  live: Uint8Array;
  synced: Uint8Array;
}
interface FolderNode {
  live: Map<string, Node>;
  synced: Map<string, Node>;
}
type Node = FileNode | FolderNode;

/** An open file or folder. */
export interface FaultFile {
  stat(): Promise<{ size: number }>;
  read(bytes: Uint8Array, at: number, length: number, position: number): Promise<{ bytesRead: number }>;
  write(bytes: Uint8Array, at: number, length: number): Promise<{ bytesWritten: number }>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** One counted operation. */
export interface Operation {
  readonly call: string;
  readonly path: string;
}

/** Thrown by every operation of a process that was killed. */
export class Killed extends Error {}

const isFolder = (node: Node): node is FolderNode => node.live instanceof Map;

function systemError(code: string, call: string, path: string): Error {
  return Object.assign(new Error(`${code}: injected or found, ${call} '${path}'`), { code, syscall: call, path });
}

export class FaultDisk {
  /** every operation so far, in order */
  readonly operations: Operation[] = [];
  /** bytes that `statfs` reports as free */
  free: number = 2 ** 40;
  /** called before every operation */
  watch: ((operation: Operation) => void) | undefined;
  private root: FolderNode = { live: new Map(), synced: new Map() };
  private armed: { readonly at: number; readonly fault: Fault } | undefined;
  /** the process that used this disk was killed */
  dead = false;

  /** @param files - absolute paths and contents; all of it is durable */
  constructor(files: Iterable<readonly [string, Uint8Array]> = []) {
    for (const [path, bytes] of files) {
      const names = path.split("/").filter((name) => name !== "");
      let folder = this.root;
      for (const name of names.slice(0, -1)) {
        const next = (folder.live.get(name) as FolderNode | undefined) ?? { live: new Map(), synced: new Map() };
        folder.live.set(name, next);
        folder.synced.set(name, next);
        folder = next;
      }
      const file = { live: bytes, synced: bytes };
      folder.live.set(names.at(-1)!, file);
      folder.synced.set(names.at(-1)!, file);
    }
  }

  /** Has the `n`-th operation from now (from 0) fail. */
  arm(fault: Fault, n: number): void {
    this.armed = { at: this.operations.length + n, fault };
  }

  /** Has every operation from now fail. */
  kill(): void {
    this.dead = true;
  }

  /** The disk as a process finds it that starts after this one was killed now. */
  crashed(crash: Crash, seed = 1): FaultDisk {
    const disk = new FaultDisk();
    let state = seed;
    const draw = (): boolean => (state = (state * 48271) % 2147483647) % 2 === 0;
    const copy = (node: Node): Node => {
      if (!isFolder(node)) {
        const bytes = crash === "process" || (crash === "mixed" && draw()) ? node.live : node.synced;
        return { live: bytes, synced: bytes };
      }
      const names = new Map<string, Node>();
      for (const name of new Set([...node.live.keys(), ...node.synced.keys()])) {
        const [now, before] = [node.live.get(name), node.synced.get(name)];
        const newer = crash === "process" || crash === "names first" || (crash === "mixed" && draw());
        const found = newer || (crash === "removals first" && now === undefined) ? now : before;
        if (found) names.set(name, copy(found));
      }
      return { live: names, synced: new Map(names) };
    };
    disk.root = copy(this.root) as FolderNode;
    disk.free = this.free;
    return disk;
  }

  /** Paths of all files, sorted. */
  get paths(): string[] {
    const found: string[] = [];
    const walk = (folder: FolderNode, at: string): void => {
      for (const [name, node] of folder.live)
        if (isFolder(node)) walk(node, `${at}/${name}`);
        else found.push(`${at}/${name}`);
    };
    walk(this.root, "");
    return found.sort();
  }

  /** A file's bytes, not counted as an operation. */
  bytes(path: string): Uint8Array | undefined {
    const node = this.find(path);
    return node && !isFolder(node) ? node.live : undefined;
  }

  async open(path: string, flags: "r" | "wx" | "a"): Promise<FaultFile> {
    return this.act("open", path, () => {
      const found = this.find(path);
      if (flags === "r" && !found) throw systemError("ENOENT", "open", path);
      if (flags === "wx" && found) throw systemError("EEXIST", "open", path);
      if (found) return this.handle(path, found);
      const file: FileNode = { live: new Uint8Array(0), synced: new Uint8Array(0) };
      const [folder, name] = this.parent("open", path);
      folder.live.set(name, file);
      return this.handle(path, file);
    });
  }

  async stat(path: string): Promise<{ isFile(): boolean; isDirectory(): boolean; size: number }> {
    return this.act("stat", path, () => this.about("stat", path));
  }

  async lstat(path: string): Promise<{ isFile(): boolean; isDirectory(): boolean; size: number }> {
    return this.act("lstat", path, () => this.about("lstat", path));
  }

  async readdir(path: string): Promise<string[]> {
    return this.act("readdir", path, () => [...this.folder("readdir", path).live.keys()]);
  }

  async realpath(path: string): Promise<string> {
    return this.act("realpath", path, () => {
      this.about("realpath", path);
      return path;
    });
  }

  async mkdir(path: string): Promise<void> {
    return this.act("mkdir", path, () => {
      if (this.find(path)) throw systemError("EEXIST", "mkdir", path);
      const [folder, name] = this.parent("mkdir", path);
      folder.live.set(name, { live: new Map(), synced: new Map() });
    });
  }

  async rename(from: string, to: string): Promise<void> {
    return this.act("rename", to, () => {
      const node = this.find(from);
      if (!node) throw systemError("ENOENT", "rename", from);
      const [source, name] = this.parent("rename", from);
      const [target, newName] = this.parent("rename", to);
      source.live.delete(name);
      target.live.set(newName, node);
    });
  }

  async unlink(path: string): Promise<void> {
    return this.act("unlink", path, () => {
      const node = this.find(path);
      if (!node) throw systemError("ENOENT", "unlink", path);
      if (isFolder(node)) throw systemError("EISDIR", "unlink", path);
      const [folder, name] = this.parent("unlink", path);
      folder.live.delete(name);
    });
  }

  async rmdir(path: string): Promise<void> {
    return this.act("rmdir", path, () => {
      if (this.folder("rmdir", path).live.size > 0) throw systemError("ENOTEMPTY", "rmdir", path);
      const [folder, name] = this.parent("rmdir", path);
      folder.live.delete(name);
    });
  }

  async statfs(path: string): Promise<{ bavail: number; bsize: number }> {
    return this.act("statfs", path, () => {
      this.about("statfs", path);
      return { bavail: this.free, bsize: 1 };
    });
  }

  private handle(path: string, node: Node): FaultFile {
    return {
      stat: async () => this.act("fstat", path, () => ({ size: isFolder(node) ? 0 : node.live.length })),
      read: async (bytes, at, length, position) =>
        this.act("read", path, () => {
          if (isFolder(node)) throw systemError("EISDIR", "read", path);
          const part = node.live.subarray(position, position + length);
          bytes.set(part, at);
          return { bytesRead: part.length };
        }),
      write: async (bytes, at, length) =>
        this.act("write", path, (fault) => {
          const file = node as FileNode;
          const taken = fault === "short write" || fault === "lost write" ? length >> 1 : length;
          const grown = new Uint8Array(file.live.length + taken);
          grown.set(file.live);
          grown.set(bytes.subarray(at, at + taken), file.live.length);
          file.live = grown;
          return { bytesWritten: fault === "lost write" ? length : taken };
        }),
      sync: async () =>
        this.act("fsync", path, () => {
          if (isFolder(node)) node.synced = new Map(node.live);
          else node.synced = node.live;
        }),
      close: async () => this.act("close", path, () => {}),
    };
  }

  private act<T>(call: string, path: string, work: (fault?: Fault) => T): T {
    if (this.dead) throw new Killed();
    const operation = { call, path };
    this.watch?.(operation);
    const fault = this.armed?.at === this.operations.push(operation) - 1 ? this.armed.fault : undefined;
    if (fault === "killed before") this.dead = true;
    if (this.dead) throw new Killed();
    if (fault === "ENOSPC" || fault === "EIO") throw systemError(fault, call, path);
    const result = work(fault);
    if (fault === "killed after") this.dead = true;
    if (this.dead) throw new Killed();
    return result;
  }

  private find(path: string): Node | undefined {
    let node: Node | undefined = this.root;
    for (const name of path.split("/").filter((part) => part !== ""))
      node = node && isFolder(node) ? node.live.get(name) : undefined;
    return node;
  }

  private folder(call: string, path: string): FolderNode {
    const node = this.find(path);
    if (!node) throw systemError("ENOENT", call, path);
    if (!isFolder(node)) throw systemError("ENOTDIR", call, path);
    return node;
  }

  private parent(call: string, path: string): [FolderNode, string] {
    const end = path.lastIndexOf("/");
    return [this.folder(call, path.slice(0, end)), path.slice(end + 1)];
  }

  private about(call: string, path: string): { isFile(): boolean; isDirectory(): boolean; size: number } {
    const node = this.find(path);
    if (!node) throw systemError("ENOENT", call, path);
    const folder = isFolder(node);
    return { isFile: () => !folder, isDirectory: () => folder, size: isFolder(node) ? 0 : node.live.length };
  }
}
