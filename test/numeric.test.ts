/** No result of a model is silently NaN or infinite, and no such model is written. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEngine } from '../src/engines.ts';
import { NumericError } from '../src/core/errors.ts';
import { evaluate } from '../src/evaluate/evaluate.ts';
import { measureRecall } from '../src/evaluate/recall/measure.ts';
import { writeModelFolder } from '../src/model/folder/model-folder.ts';
import { initialWeights } from '../src/model/init.ts';
import { Model } from '../src/model/model.ts';
import { configOf, DOWN, modelWith, weightsWith } from './support/spoiled-model.ts';

let root: string;
beforeAll(() => void (root = mkdtempSync(join(tmpdir(), 'natsearch-numeric-'))));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const folder = (): string => mkdtempSync(join(root, 'run-'));

describe('a step of decoding', () => {
  it.each([
    [DOWN, NaN, /NaN first appears in layer 1, as layer 2 reads.*1\.mlp\.down_proj\.weight' holds NaN at element 3/],
    ['model.layers.0.self_attn.v_proj.weight', NaN, /NaN first appears in the values of layer 0.*v_proj\.weight' holds NaN/],
    ['model.layers.2.mlp.up_proj.weight', Infinity, /last feed-forward part, the last norm or the head.*up_proj\.weight' holds Infinity/],
    ['lm_head.weight', -Infinity, /'lm_head\.weight' holds -Infinity at element 3/],
    ['model.norm.weight', NaN, /'model\.norm\.weight' holds NaN at element 3/],
  ])('whose weight %s holds %s says where that appears, and in which weight', async (name, value, message) => {
    for (const policy of ['full', 'nats']) {
      const session = modelWith(name, value, policy).session();
      await expect(session.step([256, 65, 66])).rejects.toThrow(NumericError);
      await expect(modelWith(name, value, policy).session().step([256, 65, 66])).rejects.toThrow(message);
    }
  });

  it.each([NaN, Infinity, -Infinity])('whose scorer holds %s is refused before it takes a token', async (value) => {
    const name = 'model.layers.1.self_attn.proj_layer.weight';
    const message = new RegExp(`types cannot be chosen: the weight 'model\\.layers\\.1\\.self_attn\\.proj_layer\\.weight' holds ${value} at element 3`);
    for (const engine of [createEngine(), await createEngine({ gpu: 'cpu' })]) {
      const model = modelWith(name, value, 'nats', engine);
      const session = model.session();
      await expect(session.step([256, 65, 66])).rejects.toThrow(NumericError);
      await expect(session.step([67])).rejects.toThrow(message);
      expect(session.tokens.map(({ length }) => length)).toEqual([0]);
      // If no types are chosen, the scorer does not matter.
      expect((await model.session({ policy: { kind: 'full' } }).step([256])).every(Number.isFinite)).toBe(true);
      model.dispose();
      engine.dispose();
    }
  });

  it('that overflows says in which precision, and how large the weights are', async () => {
    const config = configOf('full');
    const weights = weightsWith(config, DOWN, 1e38, true);
    weights.get('model.layers.1.mlp.up_proj.weight')!.data.fill(1e38);
    const model = new Model(createEngine({ precision: 'float32' }), config, weights);
    const step = model.session().step([256, 65]);
    await expect(step).rejects.toThrow(/position 0 of sequence 0/);
    await expect(step).rejects.toThrow(/all weights .* finite, the largest 1\.00e\+38 in .*overflow of float32/);
  });

  it('is refused whether all logits, the last ones, or none were requested', async () => {
    for (const logits of ['all', 'last', 'none'] as const) {
      await expect(modelWith(DOWN, NaN).session().step([256, 65], { logits })).rejects.toThrow(NumericError);
    }
  });

  it('ignores rows beyond its counts', async () => {
    const config = configOf('full');
    const weights = initialWeights(config, 1);
    weights.get('model.embed_tokens.weight')!.data.fill(NaN, 0, 8); // token 0, with which rows are padded
    const session = new Model(createEngine(), config, weights).session({ batch: 2 });
    const logits = await session.step([256, 65, 256, 0], { counts: [2, 1] });
    expect(logits.subarray(0, 3 * 258).every(Number.isFinite)).toBe(true);
    await expect(session.step([0, 66])).rejects.toThrow(/position 2 of sequence 0/);
  });

  it('reads only its logits as long as they are finite', async () => {
    const engine = createEngine();
    let reads = 0;
    const counting = new Proxy(engine, {
      get: (target, name) => {
        if (name === 'read') reads++;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) as unknown : value;
      },
    });
    const config = configOf('nats');
    const model = new Model(counting, config, initialWeights(config, 1));
    await model.session().step([256, 65, 66]);
    expect(reads).toBe(config.layers + 1); // and the scorers once per model
    await model.session().step([256, 65, 66]);
    expect(reads).toBe(config.layers + 2);
  });
});

describe('what depends on logits', () => {
  it('generate() refuses instead of repeating token 0', async () => {
    const pieces = modelWith(DOWN, NaN).generate('ab', { temperature: 0, maxNewTokens: 3 });
    await expect((async () => {
      for await (const piece of pieces) expect(piece).toBe('never');
    })()).rejects.toThrow(NumericError);
  });

  it('evaluate() refuses instead of a perplexity of NaN', async () => {
    await expect(evaluate(modelWith(DOWN, NaN), Int32Array.of(65, 66, 67))).rejects.toThrow(NumericError);
  });

  it('evaluate() refuses a perplexity that overflows, and bits per byte of no bytes', async () => {
    const config = configOf('full');
    // The embedding of every token is the same, so the first row of the head wins by a known margin.
    const weights = weightsWith(config, 'model.embed_tokens.weight', 1, true);
    for (const [name, { data }] of weights) if (name.includes('o_proj') || name.includes('down_proj')) data.fill(0);
    weights.get('lm_head.weight')!.data.fill(0).fill(100, 0, 8);
    const certain = new Model(createEngine(), config, weights);
    const certainly = evaluate(certain, Int32Array.of(65, 66));
    await expect(certainly).rejects.toThrow(/perplexity would be Infinity: the mean loss is (799\.99|800)/);
    const fine = new Model(createEngine(), config, initialWeights(config, 1));
    const nothing = evaluate(fine, Int32Array.of(257));
    await expect(nothing).rejects.toThrow(/bits per byte would be Infinity: .* over 0 bytes/);
    await expect(evaluate(fine, Int32Array.of(65, 300))).rejects.toThrow(/token 1 is 300/);
  });

  it('measureRecall() refuses instead of counting wrong answers', async () => {
    const documents = [{ prompt: 'abc', answer: 'd', distance: 3 }];
    await expect(measureRecall(modelWith(DOWN, NaN), documents)).rejects.toThrow(NumericError);
  });
});

describe('a model folder', () => {
  it('is not written with a weight that is not finite in its dtype', async () => {
    const config = configOf('full');
    for (const [value, dtype] of [[NaN, 'F32'], [1e39, 'F32'], [70000, 'F16'], [Infinity, 'F64']] as const) {
      const out = folder();
      const weights = weightsWith(config, DOWN, value);
      await expect(writeModelFolder(out, config, weights, { dtype })).rejects.toThrow(NumericError);
      expect(readdirSync(out)).toEqual([]);
    }
    await writeModelFolder(folder(), config, weightsWith(config, DOWN, 65519), { dtype: 'F16' });
  });
});
