/** Continuing prompts: options, stops, log-probabilities, sessions that are continued, and how a generation ends. */
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { StoppedError, ValueError } from '../src/core/errors.ts';
import { evaluate } from '../src/evaluate/evaluate.ts';
import { recallDocuments } from '../src/evaluate/recall/documents.ts';
import { measureRecall } from '../src/evaluate/recall/measure.ts';
import { loadModel } from '../src/load.ts';
import type { GeneratedToken, GenerateOptions } from '../src/model/generate/generate-options.ts';
import type { Prompt } from '../src/model/generate/generate.ts';
import type { GeneratedPiece } from '../src/model/generate/sequence.ts';
import type { Session } from '../src/model/session/session.ts';
import { StopWatch } from '../src/model/generate/stops.ts';
import { tinyModel } from './support/tiny-model.ts';

const model = tinyModel(10);
afterAll(() => model.dispose());

/** The tokens, text and pieces of one continuation. */
async function run(
  prompt: Prompt, options: GenerateOptions = {}, of = model,
): Promise<{ tokens: number[]; text: string; pieces: GeneratedPiece[]; told: GeneratedToken[] }> {
  const told: GeneratedToken[] = [];
  const pieces: GeneratedPiece[] = [];
  const onToken = (token: GeneratedToken) => void told.push(token);
  for await (const piece of of.generateBatch([prompt], { maxNewTokens: 12, onToken, ...options })) pieces.push(piece);
  return { tokens: told.map(({ token }) => token), text: pieces.map(({ text }) => text).join(''), pieces, told };
}

describe('the options of generate()', () => {
  it.each<[object, RegExp]>([
    [{ temprature: 0.5 }, /generate\(\) has no option "temprature": did you mean temperature\?/],
    [{ top_k: 4 }, /has no option "top_k": did you mean topK\?/],
    [{ max_new_tokens: 4 }, /did you mean maxNewTokens\?/],
    [{ beams: 4 }, /has no option "beams": its options are cache, logprobs, maxNewTokens, /],
    [{ maxNewTokens: '8' }, /maxNewTokens is a string: it must be a whole number/],
    [{ temperature: '1' }, /temperature is "1": it must be a finite number, 0 or more/],
    [{ temperature: Infinity }, /temperature is Infinity/],
    [{ topK: 2.5 }, /topK is 2\.5/], [{ topP: 0 }, /topP is 0: it must be above 0 and at most 1/],
    [{ topP: 1.1 }, /topP is 1\.1/], [{ minP: -0.1 }, /minP is -0\.1: it must be a number from 0 to 1/],
    [{ minP: [0.1] }, /minP is an Array: it must be a number from 0 to 1/],
    [{ repetitionPenalty: 0 }, /repetitionPenalty is 0: it must be a finite number above 0/],
    [{ seed: 1.5 }, /seed is 1\.5: it must be a whole number/], [{ stop: '' }, /stop holds an empty text/],
    [{ stop: [7] }, /stop holds a number/], [{ stop: {} }, /stop is a object/], [{ logprobs: 101 }, /at most 100/],
    [{ onToken: 'x' }, /onToken is a string: pass a function/], [{ signal: {} }, /signal is not an AbortSignal/],
    [{ prefillStep: 0 }, /prefillStep is 0/],
  ])('%j are refused, not ignored', async (options, message) => {
    await expect(run('a', options as GenerateOptions)).rejects.toThrow(message);
    await expect(run('a', options as GenerateOptions)).rejects.toThrow(ValueError);
  });

  it('are an object', async () => {
    for (const options of [null, 7, []]) {
      await expect(model.generate('a', options as never).next()).rejects.toThrow(/the options of generate\(\) are/);
    }
  });

  it('of other functions are refused as well if they do not exist', async () => {
    const refused = (of: string, name: string, near: string) => `${of}() has no option "${name}": did you mean ${near}?`;
    expect(() => model.session({ polcy: 'full' } as never)).toThrow(refused('session', 'polcy', 'policy'));
    const tokens = model.tokenizer.encode('some text');
    const measured = evaluate(model, tokens, { contxt: 8 } as never);
    await expect(measured).rejects.toThrow(refused('evaluate', 'contxt', 'context'));
    const asked = { kind: 'passkey', documents: 1, length: 300, sed: 1 } as const;
    expect(() => recallDocuments(asked as never)).toThrow(refused('recallDocuments', 'sed', 'seed'));
    await expect(measureRecall(model, [], { steps: 1 } as never)).rejects.toThrow(refused('measureRecall', 'steps', 'step'));
    await expect(loadModel('models/nats', { engin: 1 } as never)).rejects.toThrow(refused('loadModel', 'engin', 'engine'));
  });

  it('include a prompt of tokens, which are fed unchanged', async () => {
    const text = await run('Call me', { seed: 3 });
    expect(await run([256, ...model.tokenizer.encode('Call me')], { seed: 3 })).toEqual(text);
    expect((await run(model.tokenizer.encode('Call me'), { seed: 3 })).tokens).not.toEqual(text.tokens); // without bos
    for (const wrong of [[258], [-1], [1.5], [NaN], [], null, undefined, 5, {}]) {
      await expect(run(wrong as never), String(wrong)).rejects.toThrow(ValueError);
    }
  });

  it('sample by the seed, and penalise what was seen', async () => {
    const options = { temperature: 3, topP: 0.9, minP: 0.01, topK: 200 };
    expect((await run('x', { ...options, seed: 1 })).tokens).toEqual((await run('x', { ...options, seed: 1 })).tokens);
    expect((await run('x', { ...options, seed: 2 })).tokens).not.toEqual((await run('x', { ...options, seed: 1 })).tokens);
    const { tokens } = await run('ab', { temperature: 0, repetitionPenalty: 1e9, maxNewTokens: 40 });
    expect(new Set([97, 98, ...tokens]).size).toBe(2 + tokens.length); // no token of prompt or text is repeated
  });
});

describe('stop', () => {
  const asked = { temperature: 2, seed: 6, maxNewTokens: 40 };

  it('ends the text before it, even if it spans tokens, and has no effect if it never occurs', async () => {
    const { text, pieces } = await run('Stop', asked);
    expect(pieces.at(-1)!.finish).toBe('length');
    const plain = [...text].filter((character) => character !== '\ufffd');
    expect(plain.length).toBeGreaterThan(10);
    for (const [begin, length] of [[0, 1], [3, 2], [5, 4]] as const) {
      const stop = text.slice(begin, begin + length);
      const stopped = await run('Stop', { ...asked, stop });
      expect(stopped.text).toBe(text.slice(0, text.indexOf(stop)));
      expect(stopped.pieces.at(-1)).toMatchObject({ finish: 'stop' });
      expect(stopped.tokens.length).toBeLessThan(40);
    }
    const never = await run('Stop', { ...asked, stop: ['never this', text.slice(2, 5) + '!!'] });
    expect(never.text).toBe(text);
  });
});

describe('the search for stops', () => {
  it('gives the text before the stop that is completed first, whatever pieces the text comes in', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 24 });
    const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 4 }), { maxLength: 3 });
    fc.assert(fc.property(letters, stops, fc.array(fc.nat(3)), (text, all, sizes) => {
      // The definition: the shortest beginning of the text that ends with a stop, without the longest such stop.
      let expected: string | undefined;
      for (let end = 1; end <= text.length && expected === undefined; end++) {
        const ending = all.filter((stop) => text.slice(0, end).endsWith(stop)).map((stop) => stop.length);
        if (ending.length > 0) expected = text.slice(0, end - Math.max(...ending));
      }
      const watch = new StopWatch(all);
      let [given, at, n, stopped] = ['', 0, 0, false];
      while (at < text.length && !stopped) {
        const size = sizes[n++] ?? 1;
        const released = watch.push(text.slice(at, at + size));
        at = size === 0 && n >= sizes.length ? at : at + size;
        given += released.text;
        ({ stopped } = released);
        if (stopped) continue;
        const held = text.slice(given.length, at);
        expect(held === '' || all.some((stop) => stop.startsWith(held) && stop !== held), held).toBe(true);
      }
      expect(stopped).toBe(expected !== undefined);
      expect(stopped ? given : given + watch.end()).toBe(expected ?? text);
    }), { numRuns: 500 });
  });
});

describe('logprobs', () => {
  it('are those of the model\'s own distribution, whatever the options', async () => {
    const { told, tokens } = await run('Log', { temperature: 5, topK: 9, repetitionPenalty: 2, seed: 8, logprobs: 4 });
    const session = model.session();
    const logits = Float64Array.from(await session.step([256, ...model.tokenizer.encode('Log'), ...tokens]));
    session.dispose();
    const rows = told.map((_, n) => logits.subarray((3 + n) * 258, (4 + n) * 258));
    for (const [n, { token, logprob, top }] of told.entries()) {
      const normaliser = Math.log(rows[n].reduce((sum, z) => sum + Math.exp(z), 0));
      expect(logprob).toBeCloseTo(rows[n][token] - normaliser, 10);
      const sorted = [...rows[n].keys()].sort((a, b) => rows[n][b] - rows[n][a] || a - b).slice(0, 4);
      expect(top!.map((each) => each.token)).toEqual(sorted);
      top!.forEach((each) => expect(each.logprob).toBeCloseTo(rows[n][each.token] - normaliser, 10));
    }
    expect(told.length).toBe(12);
    expect((await run('Log', { logprobs: 0 })).told[0]).toMatchObject({ top: [], logprob: expect.any(Number) as number });
    expect(Object.keys((await run('Log')).told[0])).toEqual(['sequence', 'token']);
  });
});

/** The greedy tokens after `ids`, each from a new session that reads everything. */
async function greedy(ids: readonly number[], count: number): Promise<number[]> {
  const all = [...ids];
  for (let n = 0; n < count; n++) {
    const session = model.session();
    const row = Float64Array.from(await session.step(all, { logits: 'last' }));
    session.dispose();
    all.push(row.indexOf(row.reduce((a, b) => Math.max(a, b))));
  }
  return all.slice(ids.length);
}

describe('generate() with a session', () => {
  const bytes = (text: string) => [...model.tokenizer.encode(text)];

  it('continues from what the session has read, and reads nothing twice', async () => {
    const session = model.session();
    const prefix = 'A prefix that is read once. ';
    const fed: number[] = [];
    let before = 0;
    const onStep = ({ lengths }: Session) => {
      fed.push(lengths[0] - before);
      before = lengths[0];
    };
    const options = { session, onStep, temperature: 0, maxNewTokens: 5 };
    const one = await run(prefix, options);
    expect(session.lengths).toEqual([1 + prefix.length + 5]); // the last token is read too
    fed.length = 0;
    const two = await run('Two', options);
    expect(fed).toEqual([3, 1, 1, 1, 1, 1]);
    const expected = await greedy([256, ...bytes(prefix), ...one.tokens, ...bytes('Two')], 5);
    expect(two.tokens).toEqual(expected);
    session.dispose();
  });

  it('continues where it ended if the prompt is empty', async () => {
    const session = model.session();
    const options = { session, temperature: 0, maxNewTokens: 4 };
    await expect(run('', options)).rejects.toThrow(/prompt 0 has no tokens/);
    const parts = [await run('Go on', options), await run('', options), await run([], options)];
    expect(parts.flatMap(({ tokens }) => tokens)).toEqual(await greedy([256, ...bytes('Go on')], 12));
    await session.step([65]); // feeds something else, whose logits are not kept
    await expect(run('', options)).rejects.toThrow(/prompt 0 has no tokens/);
    session.dispose();
  });

  it('loses nothing when the reader leaves early or a signal aborts', async () => {
    const session = model.session();
    const options = { session, temperature: 0, maxNewTokens: 9 };
    const told: number[] = [];
    const onToken = ({ token }: GeneratedToken) => void told.push(token);
    for await (const { text } of model.generateBatch(['Leave'], { ...options, onToken })) {
      expect(text).not.toBe('');
      break;
    }
    expect(session.lengths).toEqual([1 + 5 + told.length]);
    const controller = new AbortController();
    const abort = (token: GeneratedToken) => {
      onToken(token);
      if (told.length >= 4) controller.abort();
    };
    await expect(run('', { ...options, onToken: abort, signal: controller.signal })).rejects.toThrow(StoppedError);
    expect(session.lengths).toEqual([1 + 5 + told.length]);
    const rest = await run('', { ...options, maxNewTokens: 3 });
    expect([...told, ...rest.tokens]).toEqual(await greedy([256, ...bytes('Leave')], told.length + 3));
    session.dispose();
  });

  it('is refused if it is not a session, is that of another model, or is fed by something else meanwhile', async () => {
    const other = tinyModel(2);
    const session = other.session();
    await expect(run('x', { session })).rejects.toThrow(/the session belongs to another model/);
    for (const wrong of [null, {}, 5]) {
      await expect(run('x', { session: wrong as never })).rejects.toThrow(/session is not a Session: pass what model\.session/);
    }
    const ours = model.session();
    const both = await Promise.allSettled([run('abc', { session: ours }), run('def', { session: ours })]);
    const failed = both.filter((each) => each.status === 'rejected');
    expect(failed.length).toBeGreaterThan(0);
    for (const { reason } of failed) {
      expect(reason).toBeInstanceOf(ValueError);
      expect((reason as Error).message).toMatch(/something else feeds it at the same time; .* fork\(\)/);
    }
    for (const each of [session, ours, other]) each.dispose();
  });

  it('continues every sequence of a batch, and refuses another batch or policy', async () => {
    const session = model.session({ batch: 2 });
    const tokens: number[][] = [[], []];
    const onToken = ({ sequence, token }: GeneratedToken) => void tokens[sequence].push(token);
    const options = { session, temperature: 0, maxNewTokens: 4, onToken };
    for (const prompts of [['One', 'Another'], ['', 'more']]) {
      for await (const piece of model.generateBatch(prompts, options)) expect(piece.sequence).toBeLessThan(2);
    }
    expect(tokens[0]).toEqual(await greedy([256, ...bytes('One')], 8));
    const first = tokens[1].slice(0, 4);
    expect(tokens[1].slice(4)).toEqual(await greedy([256, ...bytes('Another'), ...first, ...bytes('more')], 4));
    await expect(run('x', { session })).rejects.toThrow(/1 prompts for a session of 2/);
    const wrong = model.generateBatch(['x', 'y'], { session, policy: { kind: 'full' } });
    await expect(wrong.next()).rejects.toThrow(/the policy is full but the session was made with nats/);
    session.dispose();
  });
});

describe('repetitionPenalty', () => {
  it('applies to what the session has read before, as it applies to the prompt', async () => {
    const session = model.session();
    const read = [256, ...model.tokenizer.encode('abcdefgh')];
    await session.step(read);
    const { tokens } = await run('ij', { session, temperature: 0, repetitionPenalty: 1e9, maxNewTokens: 60 });
    session.dispose();
    expect(new Set([...read, 105, 106, ...tokens]).size).toBe(read.length + 2 + tokens.length);
  });
});

describe('an abort', () => {
  const reason = new Error('the tab was closed');
  const aborted = AbortSignal.abort(reason);

  it('has its reason as the cause of the error, wherever it takes effect', async () => {
    const tokens = model.tokenizer.encode('some text');
    const documents = recallDocuments({ kind: 'passkey', documents: 1, length: 300 });
    for (const work of [
      () => run('a', { signal: aborted }), () => evaluate(model, tokens, { signal: aborted }),
      () => measureRecall(model, documents, { signal: aborted }),
    ]) {
      const error: unknown = await work().catch((each: unknown) => each);
      expect(error).toBeInstanceOf(StoppedError);
      expect((error as StoppedError).cause).toBe(reason);
    }
  });
});
