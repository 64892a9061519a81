/**
 * Outputs to which a multiple of another tensor is added, or that are a multiple of another tensor: workspaces that
 * are not cleared, and wrong buffers.
 * @module
 */
import { type Hypotheses, type Hypothesis, rowWidth } from './hypothesis.ts';
import { failingRows } from './moved-hypotheses.ts';
import { MOST_KEPT } from './scene.ts';
import { factorWords } from './factor-words.ts';

/** The share of the deviation, as squares, that may be left: the rounding of sums. */
const LEFT = 1e-6;
/** The fewest numbers by which a factor is fitted. */
const FEWEST = 12;

export const addedTensors: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const truth = scene.truth(output);
  if (truth instanceof Int32Array || output.startsWith('cache') || scene.N > MOST_KEPT) return;
  const actual = scene.outputs[output].data;
  const width = rowWidth(output, scene.d);
  const failing = failingRows(scene, width);
  if (failing.length * width < FEWEST) return;
  const shape = String(scene.expected[output].shape);
  const inputs = ['q', 'k', 'v', 'dout', 'scores', 'noise'] as const;
  const others = ['out', 'lse', 'dq', 'dk', 'dv', 'dm_rows', 'dw', 'dl', 'dg'] as const;
  const all = [
    ...inputs.map((name) => [name, scene.inputs[name]] as const),
    ...others.filter((name) => name !== output).map((name) => [name, scene.expected[name]] as const),
  ];
  for (const [name, held] of all) {
    if (!held || String(held.shape) !== shape) continue;
    for (const added of [true, false]) {
      const rest = (at: number): number => actual[at] - (added ? truth[at] : 0);
      let [both, own, size] = [0, 0, 0];
      for (const row of failing) {
        for (let at = row * width; at < (row + 1) * width; at++) {
          both += rest(at) * held.data[at];
          own += held.data[at] ** 2;
          size += rest(at) ** 2;
        }
      }
      const factor = both / own;
      if (!(own > 0) || !Number.isFinite(factor) || size - both * factor > LEFT * size) continue;
      const near = (x: number): boolean => Math.abs(factor - x) < 1e-3 * Math.abs(x);
      if (!added && near(1)) continue; // moved-hypotheses.ts says it
      const { detail, also } = factorWords(scene, factor);
      const words = (times: string): string => (near(1) ? `${name} is added to ${output}` : near(-1)
        ? `${output} less ${name}` : added ? `${name} times ${times} is added to ${output}` : `${output} holds ${name} times ${times}`);
      yield {
        name: 'other-tensor', detail: words(detail), also: also.map(words),
        kind: added ? `a multiple of ${name} is added to ${output}` : `${output} holds a multiple of ${name}`,
        predict: (row) => Array.from({ length: width }, (_, c) => {
          const at = row * width + c;
          return (added ? truth[at] : 0) + factor * held.data[at];
        }),
      };
    }
  }
};
