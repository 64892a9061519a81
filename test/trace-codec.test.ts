/** Traces as bytes: what comes back, and what is refused. */
import { describe, expect, it } from 'vitest';
import { FileFormatError } from '../src/core/errors.ts';
import { decodeTrace, encodeTrace, expectTraceSize } from '../src/evaluate/trace/codec.ts';
import { recordTrace } from '../src/evaluate/trace/record.ts';
import type { Trace } from '../src/evaluate/trace/trace.ts';
import { parsePolicy } from '../src/policies/index.ts';
import { tinyModel } from './support/tiny-model.ts';

const tokens = Int32Array.from({ length: 26 }, (_, n) => (n === 0 ? 256 : 97 + (n * n * 7) % 23));

describe('the codec', () => {
  const traceOf = async (): Promise<Trace> => {
    const model = tinyModel(5);
    try {
      return await recordTrace(model, tokens, {
        policies: ['nats', 'h2o:4', 'nats-rank:4'].map(parsePolicy), marks: [{ name: 'x', begin: 1, end: 3 }], name: 'tiny',
      });
    } finally {
      model.dispose();
    }
  };

  it('keeps what was held and when exactly, and the rest to its rounding', async () => {
    const trace = await traceOf();
    const again = await decodeTrace(await encodeTrace(trace));
    expect({ ...again, policies: [] }).toEqual({ ...trace, policies: [] });
    trace.policies.forEach((policy, p) => {
      const other = again.policies[p];
      expect({ ...other, heads: [], loss: [] }).toEqual({ ...policy, heads: [], loss: [] });
      policy.loss.forEach((x, n) => {
        expect(Number.isNaN(x) ? Number.isNaN(other.loss[n]) : Math.abs(other.loss[n] - x) <= x / 2048).toBe(true);
      });
      policy.heads.flat().forEach((head, n) => {
        const { types, last, users, used, userWeights, usedWeights, scores, received } = other.heads.flat()[n];
        expect([types, last, users, used]).toEqual([head.types, head.last, head.users, head.used]);
        for (const [mine, theirs] of [[userWeights, head.userWeights], [usedWeights, head.usedWeights]]) {
          mine.forEach((x, at) => expect(Math.abs(x - theirs[at])).toBeLessThanOrEqual(0.5 / 255 + 1e-7));
        }
        expect(scores.length).toBe(head.scores.length);
        for (const [mine, theirs] of [[scores, head.scores], [received, head.received]]) {
          mine.forEach((x, at) => {
            expect(Math.abs(x - theirs[at])).toBeLessThanOrEqual(Math.abs(theirs[at]) / 2048 + 6e-8);
          });
        }
      });
    });
  });

  it('refuses bytes that are no trace, and one that is cut off', async () => {
    const bytes = await encodeTrace(await traceOf());
    for (const bad of [new Uint8Array(0), Uint8Array.of(1, 2, 3), bytes.slice(0, bytes.length / 2)]) {
      await expect(decodeTrace(bad)).rejects.toThrow(FileFormatError);
    }
  });

  it('refuses to write more than is allowed, with what to do', () => {
    expect(() => expectTraceSize(61e6, 32e6)).toThrow('about 61.0 MB, and the limit is 32.0 MB: read fewer tokens');
    expect(() => expectTraceSize(32e6, 32e6)).not.toThrow();
  });
});
