/** The third set of broken implementations: what the oracle missed or misnamed when it met kernels from elsewhere. */
import { beforeAll, describe, expect, it } from 'vitest';
import { THIRD } from './mutants/third/index.ts';
import { expectPage, judgeAll, type Judged, placesOf, shareOf } from './support/judge.ts';

let judged: Judged[] = [];
beforeAll(async () => (judged = await judgeAll(shareOf(THIRD))), 3_600_000);

const caught = (): Judged[] => judged.filter(({ failing }) => failing.length > 0);
const answered = (): Judged[] => judged.filter(({ right, located }) => right || located);

const page = (): string => `# Broken on purpose: the third set

When the oracle met kernels that were written elsewhere, it missed or misnamed some mistakes. These implementations make them.
They were written from the list of what had gone wrong, before the diagnosis and the suite were repaired.

| | caught | named or located |
|---|---|---|
| before the repairs | 53 of 57 | 10 |
| after the repairs of the diagnosis, at the first try | 53 of 57 | 53 |
| with the cases that the suite gained | ${caught().length} of ${judged.length} | ${answered().length} |

The second row is what the first run after the repairs gave; the author of the repairs had written this set from the same list,
so it says that the repairs do what they are for, and not what to expect of a new mistake. For that see the
[fourth set](mutants-fourth.md). A verdict counts if its name is right, or if what it says of where the failing cases fail is: a
mistake without a name can be found by that.

${placesOf(judged)}
Written by \`NATS_MUTANTS=all npx vitest run --mode all test/mutants-third.long.test.ts --update\`; the test fails when this page is out of date.
`;

describe('the third set of mutants', () => {
  it('is caught, every one', () => {
    expect(THIRD.length).toBeGreaterThanOrEqual(40);
    expect(judged.filter(({ failing }) => failing.length === 0).map(({ id }) => id)).toEqual([]);
  });

  it('is named or located, nine of ten', () => {
    const wrong = judged.filter(({ right, located }) => !right && !located).map(({ id, name }) => `${id}: ${name}`);
    expect(wrong.length / judged.length, wrong.join('\n')).toBeLessThanOrEqual(0.1);
  });

  it('is in docs/mutants-third.md as it is judged here', async () => {
    await expectPage('mutants-third.md', page());
  });
});
