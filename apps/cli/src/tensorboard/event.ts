// TensorBoard's `Event` message in protobuf's wire format: the few fields that scalars need (tensorflow/core/util/event.proto,
// tensorflow/core/framework/summary.proto).

export interface TensorBoardEvent {
  /** seconds since 1970 */
  readonly wallTime: number;
  readonly step?: number;
  /** the first event of a file says its version instead of values */
  readonly fileVersion?: string;
  readonly scalars?: readonly (readonly [tag: string, value: number])[];
}

/** What the first event of a file must say. */
export const FILE_VERSION = "brain.Event:2";

export function encodeEvent({ wallTime, step = 0, fileVersion, scalars = [] }: TensorBoardEvent): Uint8Array {
  const summary = scalars.map(([tag, value]) => field(1, joined([text(1, tag), float(2, value)])));
  return joined([
    double(1, wallTime),
    ...(step === 0 ? [] : [varintField(2, step)]), // 0 is what an absent field means
    ...(fileVersion === undefined ? [] : [text(3, fileVersion)]),
    ...(scalars.length === 0 ? [] : [field(5, joined(summary))]),
  ]);
}

const WIRE = { varint: 0, bits64: 1, bytes: 2, bits32: 5 } as const;

function key(number: number, type: keyof typeof WIRE): Uint8Array {
  return varint((number << 3) | WIRE[type]);
}

/** @param value - an integer of at most 2⁵³ − 1 */
function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Uint8Array.of(...bytes, rest);
}

function varintField(number: number, value: number): Uint8Array {
  return joined([key(number, "varint"), varint(value)]);
}

function field(number: number, bytes: Uint8Array): Uint8Array {
  return joined([key(number, "bytes"), varint(bytes.length), bytes]);
}

function text(number: number, value: string): Uint8Array {
  return field(number, new TextEncoder().encode(value));
}

function double(number: number, value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, value, true);
  return joined([key(number, "bits64"), bytes]);
}

function float(number: number, value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return joined([key(number, "bits32"), bytes]);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
