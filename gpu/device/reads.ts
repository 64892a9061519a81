/**
 * Reading back many results at a time: the one asked for and all that waited share one staging buffer and one map, and
 * reads that are asked for in a row, if the first is large, share a submit with all that was recorded before them.
 * @module
 */
import { DeviceError } from '../../src/core/errors.ts';
import { oneLine } from './error-text.ts';
import type { DeviceHealth } from './health.ts';
import type { Recorder } from './recorder.ts';

/** GPUBufferUsage and GPUMapMode as numbers, since their globals are missing in Node. */
const STAGING = 0x01 | 0x08; // MAP_READ | COPY_DST
const READ = 1;

/** A read that waits to be made together with another one. */
export interface LateRead<T> {
  /** The data, which is read now unless another read has brought it along. */
  now(): Promise<T>;
}

/** The same, for someone who may also wait until another read has brought it along. */
export interface PatientRead<T> extends LateRead<T> {
  /** The data. It never arrives if nothing is read any more. */
  readonly arrived: Promise<T>;
}

/** Bytes of the smallest staging buffers: some tokens, and the counts of a cache's heads. Who reads these waits. */
const SMALL = 4096;
/** Bytes up to which staging buffers are kept, and how many of each size. */
const [KEPT, MOST_KEPT] = [2 ** 20, 16];

interface Wanted {
  readonly buffer: GPUBuffer;
  readonly bytes: number;
}

/** The reads of one device. */
export class Reads {
  readonly #device: GPUDevice;
  readonly #health: DeviceHealth;
  readonly #recorder: Recorder;
  /** Reads that wait for the next one. */
  #waiting: (Wanted & { settle: (data: Promise<ArrayBuffer>) => void })[] = [];
  /** Free staging buffers by their size, a power of two: to make one takes longer than to read a token. */
  readonly #free = new Map<number, GPUBuffer[]>();
  #closed = false;
  /** The submit of the reads that are being asked for in a row. */
  #row: Promise<void> | undefined;
  /** Reads under way. */
  readonly #onTheirWay = new Set<Promise<unknown>>();

  constructor(device: GPUDevice, health: DeviceHealth, recorder: Recorder) {
    this.#device = device;
    this.#health = health;
    this.#recorder = recorder;
  }

  /** The first `bytes` of a buffer, after all commands that were recorded before. */
  read(buffer: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    return this.#readAll({ buffer, bytes });
  }

  /** Reads them together with the next read(), or when `now()` is called; the buffer must live until then. */
  readLater(buffer: GPUBuffer, bytes: number): PatientRead<ArrayBuffer> {
    let settle!: (data: Promise<ArrayBuffer>) => void;
    const data = new Promise<ArrayBuffer>((resolve) => {
      settle = resolve;
    });
    data.catch(() => {}); // if the device is lost before anyone asks, whoever asks hears of it
    const entry = { buffer, bytes, settle };
    this.#waiting.push(entry);
    return {
      arrived: data,
      now: async () => {
        if (this.#waiting.includes(entry)) void this.#readAll(undefined).catch(() => {});
        return data;
      },
    };
  }

  /** Resolves when no read is under way; never rejects. No further ones follow. */
  async settled(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#onTheirWay);
    for (const kept of this.#free.values()) for (const staging of kept.splice(0)) staging.destroy();
  }

  async #readAll(first: Wanted | undefined): Promise<ArrayBuffer> {
    const waiting = this.#waiting;
    this.#waiting = [];
    const work = this.#fetch([...(first ? [first] : []), ...waiting]);
    this.#onTheirWay.add(work);
    const done = (): void => void this.#onTheirWay.delete(work);
    work.then(done, done);
    let at = first?.bytes ?? 0;
    for (const { bytes, settle } of waiting) {
      const start = at;
      const data = work.then((all) => all.slice(start, start + bytes));
      data.catch(() => {});
      settle(data);
      at += bytes;
    }
    return (await work).slice(0, first?.bytes ?? 0);
  }

  async #fetch(parts: readonly Wanted[]): Promise<ArrayBuffer> {
    this.#health.check(); // here, so that the reads that waited hear of it too
    const size = parts.reduce((sum, { bytes }) => sum + bytes, 0);
    if (size === 0) return new ArrayBuffer(0);
    const room = size > KEPT ? size : Math.max(SMALL, 2 ** Math.ceil(Math.log2(size)));
    const kept = this.#keptOf(room);
    const staging = kept?.pop() ?? this.#device.createBuffer({ size: room, usage: STAGING });
    let free = false;
    let at = 0;
    for (const { buffer, bytes } of parts) {
      if (bytes > 0) this.#recorder.copy(buffer, 0, staging, at, bytes);
      at += bytes;
    }
    this.#recorder.reads++;
    try {
      await this.#submitted(size);
      await staging.mapAsync(READ, 0, size);
      this.#health.check();
      const data = staging.getMappedRange(0, size).slice(0);
      if (kept && kept.length < MOST_KEPT && !this.#closed) {
        staging.unmap();
        kept.push(staging);
        free = true;
      }
      return data;
    } catch (error) {
      // A device that is being lost drops its maps first.
      await new Promise((resolve) => setTimeout(resolve));
      this.#health.check();
      throw new DeviceError(`reading back ${size} bytes failed: ${oneLine(error)}`);
    } finally {
      this.#recorder.reads--;
      if (!free) staging.destroy();
    }
  }

  #keptOf(room: number): GPUBuffer[] | undefined {
    if (room > KEPT) return undefined;
    let kept = this.#free.get(room);
    if (!kept) this.#free.set(room, kept = []);
    return kept;
  }

  /** Submits the copies: of few bytes at once, unless others in the same row are larger, and of more after the row. */
  #submitted(size: number): Promise<void> {
    if (size <= SMALL && !this.#row) return this.#recorder.submitted();
    return this.#row ??= Promise.resolve().then(() => {
      this.#row = undefined;
      return this.#recorder.submitted();
    });
  }
}
