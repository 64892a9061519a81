/**
 * Every public function refuses what it cannot use by a named error: one argument after the other of a call that works
 * is replaced by what does not belong there. Here some of it, in every place; test/hostile.long.test.ts has all of it.
 */
import { describe, expect, it } from 'vitest';
import { createEngine, StoppedError } from '../src/index.ts';
import { CALLS, namesOf } from './support/hostile-calls.ts';
import { engineCalls } from './support/hostile-engine.ts';
import { faultsOf, HOSTILE, some } from './support/hostile.ts';

describe('a public function refuses by a named error, or accepts,', () => {
  // Each call of smallSuite() makes a case before it stops; the thorough scan has it.
  it.each(Object.keys(CALLS).filter((name) => name !== 'smallSuite'))('anything in any place of the arguments of %s', async (name) => {
    expect(await faultsOf(CALLS[name], some)).toEqual([]);
  });
});

describe('an operation of an engine refuses by a named error, or accepts,', async () => {
  const { calls, names } = await engineCalls(createEngine());
  it.each(Object.keys(calls))('anything in any place of the arguments of %s', async (name) => {
    expect(await faultsOf(calls[name], some)).toEqual([]);
  });

  it('anything, with no operation and no method of a cache or a pool left out', () => {
    expect(names.filter((name) => !Object.hasOwn(calls, name))).toEqual([]);
  });
});

describe('the scan', () => {
  it('leaves out no export, and no method of an export or of what it returns', () => {
    expect(namesOf().filter((name) => !Object.hasOwn(CALLS, name))).toEqual([]);
  });

  it('notices new functions and new methods', () => {
    class Added {
      method(): void { /* does nothing */ }
    }
    expect(namesOf({ added: () => 1, Added, AddedError: class extends Error {}, NUMBER: 1 }))
      .toEqual(expect.arrayContaining(['added', 'Added', 'Added.method']));
  });

  it.each([
    ['what the language throws', () => (undefined as unknown as { x: number }).x, /TypeError/],
    ['a rejection', () => Promise.reject(new RangeError('Invalid array length')), /RangeError: Invalid array length/],
    ['what a generator throws', async function* () { yield (null as unknown as number[])[0]; }, /TypeError/],
    ['a named error in the words of the language', () => { throw new StoppedError('x is not a function'); }, /StoppedError with the message/],
    ['a named error without a word', () => { throw new StoppedError(''); }, /StoppedError with the message ""/],
  ])('finds %s', async (_, fault, what) => {
    const call = (x: unknown): unknown => (x === 1 ? undefined : fault());
    const faults = await faultsOf({ given: [1], call: call as never });
    expect(faults.length).toBe(1 + HOSTILE.length); // without the argument, and with each in its place
    for (const each of faults) expect(each).toMatch(what);
  });

  it('reaches the contents of objects and lists in the arguments', async () => {
    const call = ({ a: [{ b }] }: { a: { b: unknown }[] }): void => {
      if (b === null) throw new TypeError('deep');
    };
    const deep = (await faultsOf({ given: [{ a: [{ b: 1 }] }], call: call as never })).filter((each) => each.includes('deep'));
    expect(deep).toEqual([expect.stringMatching(/^0\.a\.0\.b = null: TypeError: deep/)]);
  });
});
