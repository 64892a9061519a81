/**
 * Says in words where someone's outputs first depart from the algorithm.
 * @module
 */
import { chunkOf, FOREVER, TOKEN_TYPE_NAMES, TokenType } from '../../core/lifetime.ts';
import { causeOf, type DiagnosisName } from './diagnoses.ts';
import type { Scene, Sees } from './scene.ts';
import type { Diagnosis, Divergence, OutputName } from '../types.ts';

/** One line, and the key that it is about if the divergence does not name one. */
export function wordsOf(
  scene: Scene, output: OutputName, divergence: Divergence, sees: Sees | undefined,
): { words: string; key?: number } {
  const { parameters: { kvHeads: G }, N } = scene;
  const { batch = 0, kvHead, head, query, key, step, expected, actual } = divergence;
  const group = kvHead ?? Math.floor(head! / scene.R);
  const at = batch * G + group;
  if (output === 'mask') return { words: pairWords(scene, at, query!, key!, actual !== 0) };
  if (output === 'last') {
    return { words: pairWords(scene, at, Math.max(key!, Math.min(actual, expected) + 1), key!, actual > expected) };
  }
  const pair = sees && differs(scene, sees, at, query, key);
  if (pair) return { words: pairWords(scene, at, pair.i, pair.j, pair.seen), key: pair.j };
  const place = [
    `batch ${batch}`, head === undefined ? `KV head ${group}` : `head ${head}`,
    ...(step === undefined ? [] : [`step ${step}`]), ...(query === undefined ? [] : [`query ${query}`]),
    ...(key === undefined ? [] : [['types', 'dg', 'dl', 'dw', 'dscores'].includes(output) && scene.parameters.chunk > 1 ? `chunk ${key}` : `token ${key}`]),
  ].join(', ');
  const type = (n: number): string => TOKEN_TYPE_NAMES[n as TokenType] ?? String(n);
  switch (output) {
    case 'types': {
      const t = at * scene.chunks + key!;
      const of = (name: 'scores' | 'noise'): string => [0, 1, 2].map((n) => scene.inputs[name].data[3 * t + n]).join(' ');
      const given = `scores ${of('scores')}${scene.inputs.noise ? `, noise ${of('noise')}` : ''}`;
      return { words: `${place} is ${type(actual)}, not ${type(expected)} (${given})` };
    }
    case 'cache_closed_by':
      return { words: `${place} is closed by ${actual < 0 ? 'nothing' : actual}, not by ${expected < 0 ? 'nothing' : expected}: ${keyWords(scene, at, key!)}` };
    case 'cache_evicted_at': {
      const when = (step: number): string => (step < 0 ? 'never evicted' : `evicted at step ${step}`);
      return { words: `${place} is ${when(actual)}, not ${when(expected)}: ${keyWords(scene, at, key!)}` };
    }
    case 'cache_live':
      return { words: `${place} is ${actual ? 'still held' : 'no longer held'}: ${keyWords(scene, at, key!)}` };
    default: {
      const element = divergence.index.length > 3 || N === 0 ? `${output}[${divergence.index}]` : output;
      return { words: `${place}: ${element} is ${shown(actual)}, not ${shown(expected)}` };
    }
  }
}

const shown = (x: number): string => String(Number(x.toPrecision(6)));

/** A pair on which `sees` and §2 differ, of the query or key in question if there is one. */
function differs(
  scene: Scene, sees: Sees, head: number, query: number | undefined, key: number | undefined,
): { i: number; j: number; seen: boolean } | undefined {
  for (let i = query ?? 0; i <= (query ?? scene.N - 1); i++) {
    for (let j = key ?? 0; j <= (key ?? scene.N - 1); j++) {
      const seen = sees(head, i, j);
      if (seen !== scene.sees(head, i, j)) return { i, j, seen };
    }
  }
  return undefined;
}

function pairWords(scene: Scene, head: number, i: number, j: number, seen: boolean): string {
  const { kvHeads: G } = scene.parameters;
  const ahead = j > i;
  const verb = seen ? (ahead ? 'sees' : 'still sees') : 'does not see';
  const what = ahead ? 'it comes later' : keyWords(scene, head, j);
  return `batch ${Math.floor(head / G)}, KV head ${head % G}, query ${i} ${verb} key ${j}: ${what}`;
}

/** Such as "LOCAL, closed by the GLOBAL at 512 (last = 512)". */
function keyWords(scene: Scene, head: number, j: number): string {
  const { chunk } = scene.parameters;
  const type = scene.plan(head).own[chunkOf(j, chunk)];
  const last = scene.last[head * scene.N + j];
  if (type === TokenType.GLOBAL) return 'GLOBAL, visible for ever';
  if (type === TokenType.WINDOW) return `WINDOW (last = ${last})`;
  if (last === FOREVER) return 'LOCAL, closed by no GLOBAL yet';
  return `LOCAL, closed by the GLOBAL ${chunk > 1 ? 'chunk that ends ' : ''}at ${last} (last = ${last})`;
}

/** The kind of mistake. What is unknown is of the kind of the output that fails. */
export function causeAt(name: DiagnosisName, output: OutputName): Diagnosis['cause'] {
  if (name !== 'unknown') return causeOf(name);
  if (output === 'last' || output === 'mask') return 'mask';
  if (output === 'types') return 'types';
  return output.startsWith('cache') && output !== 'cache_out' ? 'cache' : 'arithmetic';
}
