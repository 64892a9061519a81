/**
 * Every policy there is: a new one is a file beside this and a line here.
 * @module
 */
export { full } from './full.ts';
export { nats } from './nats.ts';
export { streaming } from './streaming.ts';
export { window } from './window.ts';
