/**
 * How many tokens of a prompt are read per step, unless the caller or the engine says otherwise. This affects speed; it
 * affects results only by the rounding of an engine whose sums depend on it.
 * @module
 */

/**
 * On a CPU. The reference takes the same time per token at 64 to 512 tokens per step, and 2.4 times as much at 1.
 * gpu.js on the CPU takes the same at 64 and 256.
 */
export const PREFILL_STEP = 64;

/**
 * On WebGPU. On an H100, models/nats reads a prompt 7 to 10 times as fast in steps of 1,024 tokens as in steps of 64.
 */
export const GPU_PREFILL_STEP = 1024;
