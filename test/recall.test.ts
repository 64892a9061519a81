/** Pass keys in filler: documents are as described, and only right answers count as right. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ByteTokenizer, createEngine, measureRecall, type Model, parseConfig, type Policy, recallDocuments, recallText,
  ValueError,
} from '../src/index.ts';
import { initialWeights } from '../src/model/init.ts';
import { Model as RealModel } from '../src/model/model.ts';

const settings = fc.record({
  kind: fc.constantFrom('passkey' as const, 'pairs' as const), documents: fc.integer({ min: 1, max: 4 }),
  length: fc.integer({ min: 300, max: 900 }), pairs: fc.integer({ min: 1, max: 4 }), seed: fc.nat(1e6),
});

/** A model that answers with what followed the words of the question the first time, if that was near enough. */
function copies(near: number): Model {
  const tokenizer = new ByteTokenizer();
  const config = { kvHeads: 1 };
  const session = () => {
    let seen: number[] = [];
    return {
      step: async (ids: Int32Array) => {
        const logits = new Float64Array(ids.length * tokenizer.vocabSize);
        ids.forEach((id, n) => {
          seen = [...seen, id];
          const text = tokenizer.decode(seen);
          const tail = /[a-z]+ is \d*$/.exec(text)?.[0];
          const first = tail === undefined ? -1 : text.indexOf(tail);
          const next = tail !== undefined && text.length - first <= near ? text.charCodeAt(first + tail.length) : 0;
          logits[n * tokenizer.vocabSize + next] = 1;
        });
        return logits;
      },
      stats: async () => [{ visiblePairs: [seen.length], live: [Math.floor(seen.length / 2)] }],
      dispose: () => undefined,
    };
  };
  return { tokenizer, config, session, policy: { kind: 'full' } } as unknown as Model;
}

describe('recallDocuments()', () => {
  it('asks at the end for what occurs once before, at the distance that is stated', () => {
    fc.assert(fc.property(settings, (options) => {
      for (const { prompt, answer, distance } of recallDocuments(options)) {
        const question = /The (?:pass key|key of [a-z]+) is $/.exec(prompt)![0];
        const fact = `${question}${answer}. `;
        expect(prompt.split(fact)).toHaveLength(2);
        expect(prompt.split(question)).toHaveLength(3); // the fact, and the question
        expect(prompt.length - prompt.indexOf(fact)).toBe(distance);
        expect(prompt.length).toBeGreaterThan(options.length - 80);
        expect(prompt.length).toBeLessThanOrEqual(options.length + 1);
      }
    }), { numRuns: 100 });
  });

  it('gives the same documents for the same seed, and more documents begin with the same ones', () => {
    fc.assert(fc.property(settings, (options) => {
      const more = recallDocuments({ ...options, documents: options.documents + 2 });
      expect(more.slice(0, options.documents)).toEqual(recallDocuments(options));
    }), { numRuns: 20 });
    const [one, other] = [1, 2].map((seed) => recallDocuments({ kind: 'passkey', documents: 1, length: 300, seed }));
    expect(one).not.toEqual(other);
  });

  it('cuts filler from a text, and refuses what does not fit', () => {
    const filler = 'It was so. '.repeat(100);
    const [first] = recallDocuments({ kind: 'passkey', documents: 1, length: 300, filler });
    expect(first.prompt).toMatch(/was so\. /);
    const make = (changes: object) => () => recallDocuments({ kind: 'pairs', documents: 1, length: 400, ...changes });
    const paged = { length: filler.length, slice: (start: number, end: number) => filler.slice(start, end) };
    expect(recallDocuments({ kind: 'passkey', documents: 1, length: 300, filler: paged })).toEqual([first]);
    const wrong = { length: 900, slice: () => 3 };
    expect(make({ filler: wrong })).toThrow(/slice\(\) returned is 3: it must be a string/);
    expect(make({ filler: { length: 900 } })).toThrow(/slice is undefined/);
    expect(make({ filler: 'short' })).toThrow(/the filler has 5 characters: documents of 400/);
    expect(make({ length: 100 })).toThrow(/no room for 4 facts: make it 300 or more/);
    expect(make({ pairs: 99 })).toThrow(ValueError);
    expect(make({ documents: 0 })).toThrow(ValueError);
  });

  it('gives training text, with a prompt and its answer on each line', () => {
    const documents = recallDocuments({ kind: 'passkey', documents: 3, length: 200 });
    const lines = recallText(documents).split('\n');
    expect(lines).toHaveLength(4);
    expect(lines[1]).toBe(`${documents[1].prompt}${documents[1].answer}.`);
  });
});

describe('measureRecall()', () => {
  it('counts all answers of a model that looks them up, and only near ones of a model that cannot look far back', async () => {
    for (const kind of ['passkey', 'pairs'] as const) {
      const documents = recallDocuments({ kind, documents: 40, length: 400 });
      for (const step of [1, 7, 64]) {
        const all = await measureRecall(copies(Infinity), documents, { step });
        expect([all.accuracy, all.tokenAccuracy, all.documents]).toEqual([1, 1, 40]);
      }
      const near = await measureRecall(copies(200), documents);
      const reach = documents.filter(({ distance }) => distance <= 190).length / 40;
      expect(near.accuracy).toBeGreaterThanOrEqual(reach);
      expect(near.accuracy).toBeLessThan(1);
      const distances = near.byDistance.map(({ distance }) => distance);
      expect(distances).toEqual(distances.toSorted((a, b) => a - b));
      expect(near.byDistance[0].accuracy).toBe(1);
      expect(near.byDistance[3].accuracy).toBe(0);
    }
  }, 60_000);

  it('reports what real caches keep: everything, or a window', async () => {
    const config = parseConfig({
      vocab_size: 258, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 2, num_attention_heads: 2,
      max_position_embeddings: 300, nats: { policy: 'full' },
    });
    const model = new RealModel(createEngine(), config, initialWeights(config, 1));
    const documents = recallDocuments({ kind: 'passkey', documents: 2, length: 200 });
    const ask = (policy: Policy) => measureRecall(model, documents, { policy });
    expect(await ask({ kind: 'full' })).toMatchObject({ meanLiveShare: 1, residentShare: 1, policy: 'full' });
    const { residentShare, meanLiveShare } = await ask({ kind: 'window', window: 9 });
    const lengths = documents.map(({ prompt, answer }) => prompt.length + answer.length); // bos, but not the last digit
    expect(residentShare).toBeCloseTo(2 * 9 / (lengths[0] + lengths[1]), 12);
    expect(meanLiveShare).toBeLessThan(0.12);
    model.dispose();
  });

  it('refuses an empty list of questions, and stops at an abort', async () => {
    await expect(measureRecall(copies(1), [])).rejects.toThrow(/no documents to ask about/);
    const documents = recallDocuments({ kind: 'passkey', documents: 2, length: 200 });
    await expect(measureRecall(copies(1), documents, { signal: AbortSignal.abort() })).rejects.toThrow(/after 0 of 2/);
  });
});
