// What prepared rows depend on, as one hash. Whatever could change a token is in it; names, weights and places are not.

import type { Files } from "@tunesmith/core";
import type { ChatTemplates } from "../chat-template/load.ts";
import { strftime } from "../chat-template/strftime.ts";
import type { BatchJob } from "../dataset/tokenize-batch.ts";

/** Of the rules that make tokens of rows and of the files that hold them: raised by whoever changes either. */
export const PREPARED_VERSION = 1;

const BLOCK_BYTES = 2 ** 22;

export async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * A file's content as one hash: SHA-256 over the SHA-256 of its blocks of 4 MiB, as Web Crypto cannot hash a stream.
 * @throws InputError `FILE_MISSING`
 */
export async function hashFile(files: Files, path: string): Promise<{ bytes: number; sha256: string }> {
  const source = await files.open(path);
  try {
    const blocks: string[] = [];
    for (let at = 0; at < source.size; at += BLOCK_BYTES)
      blocks.push(await sha256(await source.read(at, Math.min(BLOCK_BYTES, source.size - at))));
    return { bytes: source.size, sha256: await sha256(new TextEncoder().encode(blocks.join("\n"))) };
  } finally {
    await source.close();
  }
}

/** Everything that decides what a file's rows become. */
export interface PreparedInputs {
  readonly source: { readonly bytes: number; readonly sha256: string };
  /** how rows are found: file format, key, limit, row format */
  readonly read: Readonly<Record<string, unknown>>;
  readonly job: Omit<BatchJob, "format">;
  readonly templates: ChatTemplates | undefined;
  /** see `Tokenizer.fingerprint` */
  readonly tokenizer: string;
}

/** 32 hexadecimal digits. */
export async function preparedKey({ source, read, job, templates, tokenizer }: PreparedInputs): Promise<string> {
  // where the template came from and when it is read counts only through its text; everything else of the job does
  const { folder: _, chatTemplate: __, now, ...rules } = job;
  const sources = templates === undefined ? [] : [templates.default.source, templates.toolUse?.source ?? null];
  const clock = sources.map((text) => (text === null ? null : clockIn(text, now)));
  const parts = { version: PREPARED_VERSION, source, read, rules, sources, clock, tokenizer };
  return (await sha256(new TextEncoder().encode(canonicalJson(parts)))).slice(0, 32);
}

/**
 * What a template can see of the clock: nothing, the dates it formats, or the instant where that cannot be told from its
 * text.
 */
export function clockIn(source: string, now: Date): string {
  const uses = source.split("strftime_now").length - 1;
  const tests = [...source.matchAll(/strftime_now\s+is\s+(not\s+)?defined/g)].length;
  const calls = [...source.matchAll(/strftime_now\(\s*(["'])([^"'\\]*)\1\s*\)/g)];
  if (uses !== tests + calls.length) return now.toISOString();
  return calls.map(([, , format]) => strftime(now, format!)).join("\n");
}

/** JSON with sorted keys; undefined is left out. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const entries = Object.entries(value).filter(([, entry]) => entry !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, entry]) => `${JSON.stringify(key)}:${canonicalJson(entry)}`).join(",")}}`;
}
