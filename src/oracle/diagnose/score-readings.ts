/**
 * Scores and noise [B,G,Nc,3] that are read from a wrong place.
 * @module
 */
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import type { Scene } from './scene.ts';
import type { Tensors } from '../types.ts';

type Index = readonly [b: number, g: number, c: number, type: number];

/** The scenes in which scores, noise or both are read otherwise. */
function* readings(scene: Scene): Generator<{ readonly detail: string; readonly inputs: Tensors }> {
  const { chunks: Nc, parameters: { batch: B, kvHeads: G } } = scene;
  const at = (b: number, g: number, c: number, type: number): number => ((b * G + g) * Nc + c) * 3 + type;
  const clip = (c: number): number => Math.min(Math.max(c, 0), Nc - 1);
  const places: readonly (readonly [words: string, from: (...index: Index) => number])[] = [
    ['read as [B,G,3,Nc]', (b, g, c, type) => ((b * G + g) * 3 + type) * Nc + c],
    ['read as [B,Nc,G,3]', (b, g, c, type) => ((b * Nc + c) * G + g) * 3 + type],
    ['read as [G,B,Nc,3]', (b, g, c, type) => ((g * B + b) * Nc + c) * 3 + type],
    ['of KV head 0', (b, _, c, type) => at(b, 0, c, type)],
    ['of the next KV head', (b, g, c, type) => at(b, (g + 1) % G, c, type)],
    ['of batch 0', (_, g, c, type) => at(0, g, c, type)],
    ['of the chunk before', (b, g, c, type) => at(b, g, clip(c - 1), type)],
    ['of the next chunk', (b, g, c, type) => at(b, g, clip(c + 1), type)],
    ['of the first chunk', (b, g, _, type) => at(b, g, 0, type)],
    ['of types in reverse order', (b, g, c, type) => at(b, g, c, 2 - type)],
    ['of the next type', (b, g, c, type) => at(b, g, c, (type + 1) % 3)],
    ['of the type before', (b, g, c, type) => at(b, g, c, (type + 2) % 3)],
    ['of LOCAL and WINDOW swapped', (b, g, c, type) => at(b, g, c, [0, 2, 1][type])],
    ['of GLOBAL for all types', (b, g, c) => at(b, g, c, 0)],
  ];
  for (const names of [['noise'], ['scores'], ['scores', 'noise']]) {
    for (const [words, from] of places) {
      const changed: Record<string, unknown> = { ...scene.inputs };
      let differs = false;
      for (const name of names) {
        const given = scene.inputs[name];
        if (!given) continue;
        const data = Float64Array.from(given.data, (_, n) => {
          const head = Math.floor(n / (Nc * 3));
          return given.data[from(Math.floor(head / G), head % G, Math.floor(n / 3) % Nc, n % 3)];
        });
        differs ||= data.some((x, n) => x !== given.data[n]);
        changed[name] = { ...given, data };
      }
      if (differs) yield { detail: `${names.join(' and ')} ${words}`, inputs: changed as Tensors };
    }
  }
}

/** What `right` makes of scores or noise that are read otherwise. */
export function* misreadScores(scene: Scene, right: (other: Scene) => Hypothesis['predict']): ReturnType<Hypotheses> {
  if (!scene.inputs.scores) return;
  for (const { detail, inputs } of readings(scene)) {
    let predict: Hypothesis['predict'] | undefined;
    yield { name: 'input-misread', detail, predict: (row) => (predict ??= right(scene.withInputs(inputs)))(row) };
  }
}
