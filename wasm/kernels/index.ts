/** Everything that the engine calls. */
export * from './attention';
export * from './attention-backward';
export * from './layers';
export * from './matmul';
export * from './panels';
export * from './training';

/** The first byte that the kernels do not use themselves. */
export function firstFree(): usize { return __heap_base; }
