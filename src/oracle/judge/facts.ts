/**
 * What is known of a diagnosis beside what reports print.
 * @module
 */
import type { Facts } from '../diagnose/location.ts';
import type { Diagnosis } from '../types.ts';

/** What holds of all that fails, by diagnosis. Reports do not hold it, as they are printed. */
export const FACTS: WeakMap<Diagnosis, Facts> = new WeakMap();
