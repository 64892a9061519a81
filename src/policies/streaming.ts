/**
 * StreamingLLM (Xiao et al., 2024): a window, and the first tokens, on which models park attention (sinks).
 * @module
 */
import { wholeFrom } from '../core/arguments.ts';
import { TokenType } from '../core/lifetime.ts';
import { formatEntries } from './budget.ts';
import type { PolicyKind } from './policy.ts';

/** Keeps the first `sink` tokens and the newest `window`. */
export interface StreamingPolicy {
  readonly kind: 'streaming';
  readonly sink: number;
  readonly window: number;
}

/** The sinks of comparisons at equal memory, as many as in the paper. */
const SINKS = 4;

export const streaming: PolicyKind<StreamingPolicy> = {
  name: 'streaming',
  grammar: 'streaming:S+W',
  help: 'the first S tokens and the newest W (StreamingLLM)',
  parse(text) {
    const found = /^streaming:(\d{1,9})\+(\d{1,9})$/.exec(text);
    return found ? { kind: 'streaming', sink: Number(found[1]), window: Number(found[2]) } : undefined;
  },
  format: ({ sink, window }) => `streaming:${sink}+${window}`,
  expect(name, { sink, window }) {
    wholeFrom(0, 999_999_999)(`${name}.window`, window);
    wholeFrom(0, 999_999_999)(`${name}.sink`, sink);
  },
  rule: ({ window }) => ({ window, chunk: 1 }),
  type: ({ sink }, position) => (position < sink ? TokenType.GLOBAL : TokenType.WINDOW),
  entries({ sink, window }, tokens, whole) {
    const recent = Math.min(window, tokens, whole);
    const dead = Math.max(0, tokens - whole); // first tokens beyond the model's own window, which ends sinks too
    return recent + Math.max(0, Math.min(sink, tokens - recent) - dead);
  },
  matching: {
    write: (entries) => (typeof entries === 'number' ? `streaming:${SINKS}+${entries - SINKS}`
      : `growing:${SINKS}+${formatEntries({ ...entries, base: Number((entries.base - SINKS).toFixed(6)) })}`),
    least: SINKS,
  },
};
