/** Everything that the engine calls. */
export * from './attention';
export * from './attention-backward';
export * from './layers';
export * from './matmul';
export * from './training';
