/**
 * Memory on the device.
 * @module
 */

/** A buffer, or a part of it from its beginning. */
export interface Memory {
  readonly buffer: GPUBuffer;
  readonly bytes: number;
  /** How many arrays hold the buffer. */
  readonly holds: { count: number };
}
