/**
 * The table of docs/policies.md, made from the list of policies: what each keeps, by what, and what that costs.
 * @module
 */
import { type MassRule, scoreWidth } from '../src/core/mass.ts';
import { parsePolicy, type Policy, policyKinds } from '../src/policies/index.ts';
import type { PolicyKind, Rule } from '../src/policies/policy.ts';

/** Stands for the window of a model. */
const WINDOW = 999;

/** The rule of a policy that is written as the grammar says, with numbers for its letters. */
function ruleOf(kind: PolicyKind<Policy>): Rule {
  const policy = parsePolicy(kind.grammar.replace(/\b[A-Z]\b/g, '64'));
  return kind.rule(policy, { window: WINDOW, chunk: 1 });
}

/** What decides what is kept. */
function decidedBy({ name, learned, type }: PolicyKind<Policy>, rule: Rule): string {
  if (learned) return 'types that the model gives its tokens';
  if (type && name === 'full') return 'nothing';
  if (type || !('mass' in rule)) return 'the position';
  const { score } = rule.mass;
  if (score.by !== 'attention') {
    return { age: 'the position', 'key-norm': 'the key', types: 'scores that the model gives the types' }[score.by];
  }
  const { queries, mean, heads } = score;
  const whose = queries === undefined ? 'all queries' : queries === 1 ? 'the newest query' : `the newest ${queries} queries`;
  return `attention of ${whose}${mean ? ', per query' : ''}${heads === 'layer' ? ', all heads' : ''}`;
}

/** Which entries are kept whatever their score. */
function protectedBy({ recent: { share, most }, first = 0 }: MassRule): string {
  if (share === 0) return first > 0 ? 'the first S' : 'none';
  const sinks = first === 0 ? '' : first === 1 ? 'the first, and ' : `the first ${first}, and `;
  return `${sinks}the newest ${share === 0.5 ? 'half' : `${100 * share}%`}${most === undefined ? '' : `, at most ${most === WINDOW ? 'W' : most}`}`;
}

/** One row per policy. */
export function policiesTable(): string {
  const rows = policyKinds().map((kind) => {
    const rule = ruleOf(kind);
    const budget = 'mass' in rule;
    // h2o:H+R names the protected entries, and h2o:K is half each.
    const kept = !budget ? '-' : /\+R\b/.test(kind.grammar) ? 'the newest R' : protectedBy(rule.mass);
    const numbers = budget ? scoreWidth(rule.mass) : 0;
    return `| \`${kind.grammar}\` | ${kind.help} | ${decidedBy(kind, rule)} | ${kept} | ${numbers === 0 ? '-' : numbers} | ` +
      `${budget ? 'reference, wasm, WGSL' : 'all'} | ${kind.matching ? 'yes' : '-'} |`;
  });
  return [
    '| policy | keeps | decided by | whatever the score | numbers per entry | engines | `--match` |',
    '|---|---|---|---|---|---|---|', ...rows,
  ].join('\n');
}

const MARKS = /(<!-- policies:[^>]*-->\n\n)[\s\S]*?(\n\n<!-- \/policies -->)/;

/** The page with the current table between its marks. */
export function policiesPage(page: string): string {
  if (!MARKS.test(page)) throw new Error('docs/policies.md lacks the marks <!-- policies: ... --> and <!-- /policies -->');
  return page.replace(MARKS, (_, before: string, after: string) => before + policiesTable() + after);
}
