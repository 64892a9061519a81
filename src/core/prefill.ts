/**
 * How many tokens of a prompt go into a step where neither the caller nor the engine says otherwise. It affects speed,
 * and the bits only as far as an engine's sums depend on it.
 * @module
 */

/**
 * On a CPU: the reference takes as much work per token from 64 to 512 tokens, and 2.4 times as much at 1; gpu.js on the
 * CPU takes the same at 64 and 256.
 */
export const PREFILL_STEP = 64;

/** On WebGPU: on an H100, steps of 1,024 tokens of models/nats are read 7 to 10 times as fast as steps of 64. */
export const GPU_PREFILL_STEP = 1024;
