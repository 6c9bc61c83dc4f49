// /etc/os-release tells which distribution this is, and so which command installs a driver.

/** The fields of os-release(5) that decide between package managers. */
export interface OsRelease {
  /** lower-case name, e.g. `debian`; "linux" when the file has none */
  readonly id: string;
  /** distributions this one derives from, nearest first */
  readonly idLike: readonly string[];
  /** e.g. `12` or `24.04`; "" for rolling releases */
  readonly versionId: string;
  /** e.g. `bookworm`; "" where the distribution has none */
  readonly codename: string;
  readonly prettyName: string;
}

/**
 * Reads the shell-like `KEY=value` lines of os-release.
 *
 * @see os-release(5), https://www.freedesktop.org/software/systemd/man/latest/os-release.html
 */
export function parseOsRelease(text: string): OsRelease {
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    const match = /^([A-Z][A-Z0-9_]*)=(.*)$/.exec(line.trim());
    if (match?.[1] !== undefined && match[2] !== undefined) fields.set(match[1], unquote(match[2]));
  }
  const id = (fields.get("ID") ?? "linux").toLowerCase();
  return {
    id,
    idLike: (fields.get("ID_LIKE") ?? "").toLowerCase().split(/\s+/).filter(Boolean),
    versionId: fields.get("VERSION_ID") ?? "",
    codename: fields.get("VERSION_CODENAME") ?? "",
    prettyName: fields.get("PRETTY_NAME") ?? fields.get("NAME") ?? id,
  };
}

function unquote(value: string): string {
  const quoted = /^(["'])(.*)\1$/.exec(value);
  return quoted?.[2] === undefined ? value : quoted[2].replaceAll(/\\(["$`\\])/g, "$1");
}
