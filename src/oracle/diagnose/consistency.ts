/**
 * Whether a mask that explains one output of the forward pass explains the other one, too.
 * @module
 */
import { attend } from './forward-hypotheses.ts';
import type { Hypothesis } from './hypothesis.ts';
import type { Scene } from './scene.ts';
import type { OutputName } from '../types.ts';

/** How many rows are looked at. */
const ROWS = 24;
/** The share of what a mask would change, as squares, in which the other output may differ from that. */
const APART = 0.25;

/**
 * Whether out and lse both are what the mask of a hypothesis makes of them: queries that do not see a key have another
 * output and another sum. One of the two alone is not wrong by a mask.
 *
 * @param within Which elements of `output` the hypothesis is about.
 */
export function holdsInBoth(
  scene: Scene, output: OutputName, { sees }: Hypothesis, within: (at: number) => boolean = () => true,
): boolean {
  if (!sees || (output !== 'out' && output !== 'lse')) return true;
  const { d, outputs } = scene;
  const [other, width, own] = output === 'out' ? ['lse', 1, d] as const : ['out', d, 1] as const;
  const [actual, truth] = [outputs[other]?.data, scene.truth(other)];
  if (actual?.length !== truth.length) return true;
  const rows = Array.from({ length: truth.length / width }, (_, row) => row).filter((row) => within(row * own));
  let [changed, left, wrong] = [0, 0, 0];
  for (const row of rows.filter((_, n) => n % Math.ceil(rows.length / ROWS) === 0)) {
    const made = attend(scene, scene.row(row, { sees }));
    const predicted = other === 'lse' ? [made.lse] : made.out;
    for (let c = 0; c < width; c++) {
      const [a, t, p] = [actual[row * width + c], truth[row * width + c], predicted[c]];
      if (Object.is(a, p)) continue;
      // Rows without a key are NaN, 0 or -Infinity, as a kernel pleases.
      if (!Number.isFinite(p)) {
        if (Math.abs(a - t) <= 1e-3 * (1 + Math.abs(t))) return false;
        continue;
      }
      if (!Number.isFinite(a)) continue;
      changed += (p - t) ** 2;
      wrong += (a - t) ** 2;
      left += (a - p) ** 2;
    }
  }
  return left <= APART * Math.max(changed, wrong) || Math.max(changed, left) < 1e-8 * rows.length;
}
