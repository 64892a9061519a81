/** The fourth set of broken implementations, written after the repairs that the third led to. */
import { beforeAll, describe, expect, it } from 'vitest';
import { FOURTH } from './mutants/fourth/index.ts';
import { expectPage, judgeAll, type Judged, placesOf, shareOf } from './support/judge.ts';

let judged: Judged[] = [];
beforeAll(async () => (judged = await judgeAll(shareOf(FOURTH))), 3_600_000);

const page = (): string => `# Broken on purpose: the fourth set

These were written after the repairs that the [third set](mutants-third.md) led to, from what goes wrong in kernels elsewhere,
and judged once before anything was fitted to them. Their author knew the diagnosis, which makes the estimate too good, but chose
mistakes without asking whether it has names for them. For a mistake without a name, the right verdict is that it is not a known
one, or where it fails.

At the first try, 23 of 23 were caught and 19 named or located (83%). Two misses were roundings, of q to 8 bits and of v to fp8,
that were taken for others of the same size. What they and the other two showed was then repaired: a single row in which a
rounding would change nothing refutes it, only roundings that depend on an order may be known by their sizes, types of tokens are
told apart head by head, and windows counted in chunks have a name. So what follows is no estimate:
${judged.filter(({ failing }) => failing.length > 0).length} of ${judged.length} are caught and
${judged.filter(({ right, located }) => right || located).length} are named or located.

${placesOf(judged)}
Written by \`NATS_MUTANTS=all npx vitest run --mode all test/mutants-fourth.long.test.ts --update\`; the test fails when this page is out of date.
`;

describe('the fourth set of mutants', () => {
  it('is caught, every one', () => {
    expect(judged.filter(({ failing }) => failing.length === 0).map(({ id }) => id)).toEqual([]);
  });

  it('is in docs/mutants-fourth.md as it is judged here', async () => {
    await expectPage('mutants-fourth.md', page());
  });
});
