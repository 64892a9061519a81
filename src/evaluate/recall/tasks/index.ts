/**
 * The list of recall tasks. A new one is one file and a line here.
 * @module
 */
import { common } from './common.ts';
import { hops } from './hops.ts';
import { multikey } from './multikey.ts';
import { needle } from './needle.ts';
import { pairs } from './pairs.ts';
import { passkey } from './passkey.ts';
import type { Task } from './task.ts';
import { tracking } from './tracking.ts';

export type { Scene, Task, TaskOptions } from './task.ts';
export { TEMPLATES } from './templates.ts';

/** The name of a recall task. */
export type RecallKind = 'passkey' | 'pairs' | 'needle' | 'multikey' | 'hops' | 'tracking' | 'common';

/** The names of all tasks. */
export const recallKinds: readonly RecallKind[] = [
  'passkey', 'pairs', 'needle', 'multikey', 'hops', 'tracking', 'common',
];

/** All tasks by name. */
export const TASKS: Readonly<Record<RecallKind, Task>> = {
  passkey, pairs, needle, multikey, hops, tracking, common,
};
