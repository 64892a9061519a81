/**
 * All policies. A new one is a file beside this and a line here.
 * @module
 */
export { full } from './full.ts';
export { growing } from './growing.ts';
export { h2o } from './h2o.ts';
export { h2oMean } from './h2o-mean.ts';
export { keynorm } from './keynorm.ts';
export { nats } from './nats.ts';
export { natsRank } from './nats-rank.ts';
export { snapkv } from './snapkv.ts';
export { streaming } from './streaming.ts';
export { tova } from './tova.ts';
export { window } from './window.ts';
