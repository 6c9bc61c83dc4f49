// Strict UTF-8: what is not text is an error at its byte, never U+FFFD.

import { InputError } from "@tunesmith/core";
import { placeDetails, placeText, type RowAt } from "./place.ts";

let decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * @param at - where the bytes stand; `at.byte` is the offset of the first one
 * @throws InputError `UTF8_INVALID` with the offset of the first byte that is wrong
 */
export function decodeUtf8(bytes: Uint8Array, at: RowAt): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    // after a fatal error it may hold half a character
    decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    const wrong = firstInvalidByte(bytes);
    const byte = (at.byte ?? 0) + wrong;
    throw new InputError("UTF8_INVALID", `${placeText(at)}: byte ${byte} is not valid UTF-8`, {
      ...placeDetails({ ...at, byte }),
      expected: "UTF-8 text",
      received: hex(bytes.subarray(wrong, wrong + 4)),
      fix: "convert the file to UTF-8, for example with iconv",
      cause,
    });
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => `0x${byte.toString(16).padStart(2, "0")}`).join(" ");
}

/**
 * Index of the first byte that begins no well-formed sequence (Unicode 16, table 3-7: no overlong forms, no surrogates,
 * nothing beyond U+10FFFF); the length if all are well-formed.
 */
export function firstInvalidByte(bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length;) {
    const lead = bytes[i]!;
    if (lead < 0x80) {
      i++;
      continue;
    }
    const more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4) return i;
    const second = bytes[i + 1] ?? 0;
    const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    if (second < least || second > most) return i;
    for (let k = 2; k <= more; k++) if (((bytes[i + k] ?? 0) & 0xc0) !== 0x80) return i;
    i += more + 1;
  }
  return bytes.length;
}
