import { lifetime } from '../algorithm.ts';
import { G, L, type Step, step, typeCases, W } from '../step.ts';

export const lifetimeStep: Step = step({
  name: 'lifetime',
  title: 'How long a token lives',
  chapter: '02-lifetimes',
  task: 'Given the type of each token (0 GLOBAL, 1 LOCAL, 2 WINDOW), return the last query that may see it: Infinity for ' +
    'GLOBAL, the next GLOBAL token for LOCAL (Infinity if none follows), and j + window for WINDOW.',
  parameters: { types: 'number[]', window: 'number' },
  returns: 'number[]',
  hints: [
    'Each token can be answered on its own: look at its type, and for LOCAL at the types after it.',
    'A LOCAL token dies at the first GLOBAL token after it. Other LOCAL and WINDOW tokens do not end it.',
    'For the example G L L W G L W W and window 2 the answer is [Infinity, 4, 4, 5, Infinity, Infinity, 8, 9].',
  ],
  cases: () => typeCases(),
  solve: ({ types, window }) => lifetime(types, window),
  mistakes: [
    {
      what: 'the query before the next GLOBAL token for LOCAL tokens',
      think: 'Both ends count: the query at the next GLOBAL token still sees the LOCAL tokens before it.',
      compute: ({ types, window }) =>
        lifetime(types, window).map((end, j) => (types[j] === L && end !== Infinity ? end - 1 : end)),
    },
    {
      what: 'j + window - 1 for WINDOW tokens',
      think: 'The query at j + window still sees token j, so that with window 0 a token sees itself.',
      compute: ({ types, window }) => lifetime(types, window).map((end, j) => (types[j] === W ? end - 1 : end)),
    },
    {
      what: 'the end of the sequence for tokens that live for ever',
      think: 'Nobody knows yet how long the text gets: what lives for ever has the lifetime Infinity.',
      compute: ({ types, window }) => lifetime(types, window).map((end) => (end === Infinity ? types.length - 1 : end)),
    },
    {
      what: 'lifetimes in which a LOCAL token also ends at the next LOCAL token',
      think: 'Only a GLOBAL token ends LOCAL ones.',
      compute: ({ types, window }) => lifetime(types, window).map((end, j) => {
        const next = types.findIndex((type, n) => n > j && (type === L || type === G));
        return types[j] === L ? (next < 0 ? Infinity : next) : end;
      }),
    },
    {
      what: 'lifetimes in which LOCAL tokens look for a GLOBAL token before them',
      think: 'What ends a LOCAL token comes after it.',
      compute: ({ types, window }) => lifetime(types, window).map((end, j) =>
        (types[j] === L ? types.findIndex((type) => type === G) : end)),
    },
    {
      what: 'lifetimes in which none is beyond the last token',
      think: 'Nobody knows yet how long the text gets: Infinity for what lives for ever, and j + window even beyond the text.',
      compute: ({ types, window }) => lifetime(types, window).map((end) => Math.min(end, types.length - 1)),
    },
    {
      what: 'lifetimes of WINDOW tokens that stop at the last token',
      think: 'j + window may lie beyond the text, which does no harm.',
      compute: ({ types, window }) => lifetime(types, window).map((end, j) =>
        (types[j] === W ? Math.min(end, types.length - 1) : end)),
    },
    {
      what: 'the end of the sequence for LOCAL tokens that no GLOBAL token follows',
      think: 'The GLOBAL token that ends them may still come: their lifetime is Infinity until then.',
      compute: ({ types, window }) => lifetime(types, window).map((end, j) =>
        (types[j] === L && end === Infinity ? types.length - 1 : end)),
    },
    {
      what: 'lifetimes in which the first token is GLOBAL, whatever its type',
      think: 'That is done when types are chosen; here types are taken as given.',
      compute: ({ types, window }) => lifetime([G, ...types.slice(1)], window),
    },
  ],
});
