/** `natsearch arena` as a process: its numbers, its page, and how it goes on after it was stopped. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parseHTML } from 'linkedom';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEngine, evaluate, loadModel, parsePolicy, perplexityDifference } from '../src/index.ts';
import { deleteFolder, makeFolder, natsearch, path, start } from './support/cli-folder.ts';
import { THOROUGH } from './support/thorough.ts';

interface Row {
  policy: string; learner: string | null; budget?: number; match?: string; value: number; difference: number;
  standardError: number | null; meanLiveShare: number; endLiveShare: number;
}
interface Report {
  standings: { rows: Row[] }[];
}

const TEXTS = ['--text', 'books/a.txt', '--contexts', '2', '--context', '30', '--budgets', '0.2', '--engine', 'reference'];
const arena = (out: string, ...more: string[]) =>
  natsearch('arena', '--model', 'models/nats', ...TEXTS, '--kinds', 'window', 'tova', '--out', out, ...more);
const reportOf = (out: string): Report => JSON.parse(readFileSync(path(out, 'arena.json'), 'utf8')) as Report;
const rowsOf = (out: string): Row[] => reportOf(out).standings[0].rows;

beforeAll(async () => {
  await makeFolder();
  writeFileSync(path('questions.jsonl'), `${JSON.stringify({ prompt: 'The key is 7. Yes. The key is ', answer: '7', distance: 30 })}\n`);
});
afterAll(deleteFolder);

describe('natsearch arena', () => {
  it('measures what evaluate() measures, beside full attention and at equal memory', async () => {
    const { code, stdout, stderr } = await arena('one', '--match', '--questions', 'questions.jsonl');
    expect(code).toBe(0);
    const rows = rowsOf('one');
    expect(rows.map(({ policy, budget, match }) => [policy, budget ?? match])).toEqual([
      ['full', undefined], ['window:6', 0.2], ['tova:6', 0.2], ['nats', undefined],
      ...rows.slice(4).map(({ policy, match }) => [policy, match]),
    ]);
    expect(rows.slice(4).map(({ match }) => match)).toEqual(['mean', 'mean', 'end', 'end', 'both', 'both']);
    const model = await loadModel(path('models/nats'), { engine: createEngine() });
    const tokens = model.tokenizer.encode(readFileSync(path('books/a.txt'), 'utf8')).slice(0, 60);
    const measure = (policy: string) => evaluate(model, tokens, { policy: parsePolicy(policy), context: 30 });
    const full = await measure('full');
    for (const row of rows.slice(0, 4)) {
      const own = await measure(row.policy);
      expect(row.value).toBeCloseTo(own.perplexity, 9);
      expect(row.difference).toBeCloseTo(perplexityDifference(own.contexts, full.contexts).percent, 9);
      expect(row.meanLiveShare).toBe(own.meanLiveShare);
    }
    expect(rows[3].learner).toBe('models/nats');
    model.dispose();
    expect(stdout).toMatch(/^a\.txt: 2 contexts\n/);
    expect(stdout).toMatch(/\nquestions\.jsonl: 1 questions\n[^]*these questions say nothing about caches/);
    expect(stderr).toMatch(/20 measured, 0 known from before; one\/arena\.html has the plots\n$/);
  }, 60_000);

  it('writes a page with two plots per subject that needs neither scripts nor a network', async () => {
    await arena('page');
    const html = readFileSync(path('page', 'arena.html'), 'utf8');
    const { document } = parseHTML(html);
    expect(document.querySelectorAll('figure svg')).toHaveLength(2);
    expect(document.querySelectorAll('svg circle')).toHaveLength(6); // window, tova and nats, twice
    expect(document.querySelectorAll('script, link, img')).toHaveLength(0);
    expect(html.replaceAll('http://www.w3.org/', '')).not.toMatch(/https?:/);
    expect(document.querySelector('code')!.textContent).toContain('natsearch arena --model models/nats');
  });

  it('goes on after it was stopped, with the same report as one that was not', async () => {
    const long = ['--text', 'long.txt', '--contexts', THOROUGH ? '6' : '3', '--step', '1']; // a second text
    await arena('whole', ...long);
    const known = ({ standings }: Report) => standings.map(({ rows }) => rows);
    const args = ['arena', '--model', 'models/nats', ...TEXTS, '--kinds', 'window', 'tova', '--out', 'stopped', ...long];
    const { child, result } = start(args);
    const poll = setInterval(() => {
      if (!existsSync(path('stopped', 'results.jsonl'))) return;
      clearInterval(poll);
      child.kill('SIGINT');
    }, 5);
    const { code, stderr } = await result;
    clearInterval(poll);
    expect(stderr).toMatch(/^natsearch: .* was stopped.*\n$/);
    expect(code).toBe(130);
    const again = await arena('stopped', ...long);
    expect(again.stderr).toMatch(/[1-7] measured, [1-7] known from before/);
    expect(known(reportOf('stopped'))).toEqual(known(reportOf('whole')));
    if (!THOROUGH) return;
    const [line, ...others] = readFileSync(path('whole', 'results.jsonl'), 'utf8').trim().split('\n');
    writeFileSync(path('whole', 'results.jsonl'), `${line}\n`);
    const one = await arena('whole', ...long);
    expect(one.stderr).toMatch(new RegExp(`${others.length} measured, 1 known from before`));
    expect((await arena('whole', '--context', '20')).stderr).toMatch(/4 measured, 0 known/);
    // The same text under another name is not measured again, and has its new name in the report.
    writeFileSync(path('renamed.txt'), readFileSync(path('long.txt')));
    const renamed = await arena('whole', '--text', 'renamed.txt', ...long.slice(2));
    expect(renamed.stderr).toMatch(/^0 measured, 8 known from before/m);
    expect(renamed.stdout).toMatch(/^renamed\.txt: 6 contexts$/m);
  }, 60_000);

  it('refuses what it cannot read or compare, and folders that are not its own', async () => {
    writeFileSync(path('whole', 'results.jsonl'), '{"half":\n');
    const refused = await Promise.all([
      arena('whole', '--force'), arena('books'), arena('new', '--budgets', '2'), arena('new', '--kinds', 'full'),
      natsearch('arena', '--model', 'models/nats', '--out', 'new'),
      natsearch('arena', '--model', 'models/nats', '--text', '-', '--out', 'new'),
      natsearch('arena', '--model', 'models/nats', '--text', 'nowhere.txt', '--out', 'new'),
    ]);
    const said = refused.map(({ code, stderr }) => `${code} ${stderr}`);
    expect(said[0]).toMatch(/^1 .*results\.jsonl line 1 is no result of an arena: remove the line/);
    expect(said[1]).toMatch(/^1 .*books holds .* and no results of an arena/);
    expect(said[2]).toMatch(/^2 .*between 0 and 1/);
    expect(said[3]).toMatch(/^2 .*It must be streaming/);
    expect(said[4]).toMatch(/^2 .*nothing to compare on: pass --text or --questions/);
    expect(said[5]).toMatch(/^2 .*reads its texts again when it goes on/);
    expect(said[6]).toMatch(/^1 .*nowhere\.txt/);
    for (const line of said) expect(line).not.toMatch(/ at |bug/);
  }, 60_000);
});
