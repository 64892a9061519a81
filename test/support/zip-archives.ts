/**
 * Archives that may be inconsistent, and what reading them costs.
 * @module
 */
import { expect } from 'vitest';
import { FileFormatError } from '../../src/core/errors.ts';
import { crc32 } from '../../src/formats/crc32.ts';
import { joined } from './numpy-files.ts';

/** Little-endian fields, each given as its width and value. */
export function fields(...list: readonly (readonly [2 | 4, number])[]): Uint8Array {
  return joined(...list.map(([width, value]) => {
    return Uint8Array.from({ length: width }, (_, n) => Math.floor(value / 256 ** n) % 256);
  }));
}

export interface Member {
  readonly name: string;
  readonly packed: Uint8Array;
  readonly size?: number;
  readonly crc?: number;
  readonly method?: number;
  readonly flags?: number;
  /** What the directory says if it differs from the member's own header. */
  readonly central?: Partial<Omit<Member, 'central'>> & { offset?: number };
}

/** The end of an archive: how many members it announces, what comes before it, and the number of the disk. */
interface Closing {
  readonly count: number;
  readonly more: Uint8Array;
  readonly disk: number;
}

/** An archive that may be inconsistent, written independently of the writer that is tested. */
export function archive(
  members: readonly Member[],
  { count = members.length, more = new Uint8Array(0), disk = 0 }: Partial<Closing> = {},
): Uint8Array<ArrayBuffer> {
  const MORE = 2 ** 32 - 1;
  const common = (member: Member, extra: Uint8Array) => {
    const { name, packed, size = packed.length, crc = crc32(packed), method = 0, flags = 0 } = member;
    return fields(
      [2, 45], [2, flags], [2, method], [2, 0], [2, 33], [4, crc], [4, packed.length], [4, Math.min(size, MORE)],
      [2, encode(name).length], [2, extra.length],
    );
  };
  const zip64 = ({ size = 0 }: Member) => {
    return size < MORE ? fields() : fields([2, 1], [2, 8], [4, size], [4, size / 2 ** 32]);
  };
  const [body, directory]: [Uint8Array[], Uint8Array[]] = [[], []];
  let length = 0;
  for (const member of members) {
    const [local, central] = [zip64(member), zip64({ ...member, ...member.central })];
    directory.push(
      fields([4, 0x02014b50], [2, 45]), common({ ...member, ...member.central }, central),
      fields([2, 0], [2, 0], [2, 0], [4, 0], [4, member.central?.offset ?? length]),
      encode(member.central?.name ?? member.name), central,
    );
    const whole = joined(fields([4, 0x04034b50]), common(member, local), encode(member.name), local, member.packed);
    body.push(whole);
    length += whole.length;
  }
  const listed = joined(...directory);
  return joined(...body, listed, more, fields(
    [4, 0x06054b50], [2, disk], [2, disk], [2, count], [2, count], [4, listed.length], [4, length], [2, 0],
  ));
}

export const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

export async function deflate(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream('deflate-raw'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The cost of reading: the bytes of all arrays made by length, and all bytes that were inflated. */
interface Spent {
  readonly allocated: number;
  readonly inflated: number;
  /** The message of the FileFormatError, or undefined if there was none. */
  readonly refused?: string;
}

/** Runs a reader while counting what is allocated and inflated. Any error other than FileFormatError is rethrown. */
export async function spending(read: () => unknown): Promise<Spent> {
  let [allocated, inflated] = [0, 0];
  const real = { Uint8Array, Float64Array, Float32Array, Int32Array, DecompressionStream };
  const counting = Object.fromEntries(Object.entries(real).map(([name, kind]) => [name, new Proxy<object>(kind, {
    construct(target, args: unknown[]): object {
      const made = Reflect.construct(target as typeof Uint8Array, args) as { byteLength: number } | DecompressionStream;
      if (made instanceof real.DecompressionStream) {
        const count = new TransformStream<Uint8Array, Uint8Array>({
          transform(chunk, controller) {
            inflated += chunk.length;
            controller.enqueue(chunk);
          },
        }, undefined, { highWaterMark: 0 });
        return { writable: made.writable, readable: made.readable.pipeThrough(count) };
      }
      if (typeof args[0] === 'number') allocated += made.byteLength;
      return made;
    },
  })]));
  Object.assign(globalThis, counting);
  try {
    await read();
    return { allocated, inflated };
  } catch (error) {
    if (!(error instanceof FileFormatError)) throw error;
    expect(error.message).toMatch(/^the (npz|npy|safetensors) file: [^\n]{20,600}$/);
    return { allocated, inflated, refused: error.message };
  } finally {
    Object.assign(globalThis, real);
  }
}
