/**
 * What scripts/comparisons.mjs measures: every cell of the tables of docs/policies.md, docs/recall.md and
 * docs/finetuning.md, and of a fixed memory in docs/arena.md. The most important ones come first.
 */

/** Texts and questions of scripts/base-texts.sh, under its folder, and the code of scripts/code-text.sh. */
export const SUBJECTS = {
  'moby-dick': { text: 'moby-dick.txt' },
  addresses: { text: 'sotu/heldout' },
  'pass keys': { questions: 'recall/ask-key-2400/questions.jsonl' },
  pairs: { questions: 'recall/ask-pair-2400/questions.jsonl' },
  'far pass keys': { questions: 'recall/ask-key-12000/questions.jsonl' },
  'far pairs': { questions: 'recall/ask-pair-12000/questions.jsonl' },
  bible: { text: 'kjv.txt' }, // models/base was trained on it
  code: { text: 'docutils.txt' },
};
export const TEXTS = ['moby-dick', 'addresses'];
export const OTHER_TEXTS = ['bible', 'code'];
export const QUESTIONS = ['pass keys', 'pairs'];
export const FAR_QUESTIONS = ['far pass keys', 'far pairs'];
export const CONTEXT = 1024;

export const PATTERNS = ['window', 'streaming'];
export const SCORED = ['h2o', 'h2o-mean', 'tova', 'snapkv', 'keynorm', 'nats-rank'];
/** The policies of a fixed memory. */
export const MAIN = ['window', 'streaming', 'snapkv', 'h2o', 'tova'];
export const WAYS = ['mean', 'end', 'both'];
/** 5%, 10% and 25% of a context. */
export const SIZES = [51, 102, 256];

/** A policy of a kind that holds `size` entries, as text. */
export const sized = (kind, size) => (kind === 'streaming' ? `streaming:4+${size - 4}` : `${kind}:${size}`);

/**
 * @typedef {object} Cell
 * @property {string} on A subject.
 * @property {string | null} learner The adapter whose types or scores it uses.
 * @property {string} [policy] As text.
 * @property {{ like: string, kind: string, by: string }} [match] Instead: a policy that keeps as much as the types of
 *   an adapter on the same subject.
 */

/** @param {Cell} cell @returns {string} Such as 'pairs: snapkv as keep-0.1-w32 by end' or 'pairs: nats of rank-w32'. */
export const cellName = ({ on, learner, policy, match }) =>
  `${on}: ${policy ?? `${match.kind} as ${match.like} by ${match.by}`}${learner ? ` of ${learner}` : ''}`;

/** @returns {Cell[]} Some are named twice. */
export function plan() {
  const cells = [];
  const fixed = (subjects, learner, policies) => {
    for (const policy of policies) for (const on of subjects) cells.push({ on, learner, policy });
  };
  // `changed`: the adapter whose changes of q and k the other policies get, too.
  const matched = (subjects, like, kinds, ways, { ranks = like, changed = null } = {}) => {
    for (const by of ways) {
      for (const kind of kinds) {
        const learner = kind === 'nats-rank' ? ranks : changed;
        for (const on of subjects) cells.push({ on, learner, match: { like, kind, by } });
      }
    }
  };
  const [TENTH, QUARTER, RANK] = ['keep-0.1-w32', 'keep-0.25-w64', 'rank-w32'];
  const [TWO, FAR] = ['two-0.1-w16-l128', 'far-0.1-w32'];
  fixed([...TEXTS, ...QUESTIONS], null, ['full']);
  fixed([...TEXTS, ...QUESTIONS], TENTH, ['nats']);
  fixed([...TEXTS, ...QUESTIONS], QUARTER, ['nats']);
  // A fixed memory.
  fixed(TEXTS, RANK, SIZES.map((size) => sized('nats-rank', size)));
  for (const kind of MAIN) {
    fixed(TEXTS, null, SIZES.map((size) => sized(kind, size)));
  }
  // As much as learned types.
  matched(TEXTS, TENTH, [...PATTERNS, ...SCORED], WAYS);
  // Recall.
  matched(QUESTIONS, TENTH, [...PATTERNS, ...SCORED], ['end']);
  matched(QUESTIONS, TENTH, ['nats-rank'], ['end'], { ranks: RANK });
  matched(QUESTIONS, TENTH, PATTERNS, ['mean', 'both']);
  matched(TEXTS, QUARTER, [...PATTERNS, ...SCORED], WAYS);
  matched(QUESTIONS, QUARTER, PATTERNS, ['mean', 'end']);
  for (const adapter of ['keep-0.15-w32', 'keep-0.5-w64']) {
    fixed([...TEXTS, ...QUESTIONS], adapter, ['nats']);
    matched([...TEXTS, ...QUESTIONS], adapter, PATTERNS, ['mean', 'end']);
  }
  // What recency brings, other adapters, and the rest.
  fixed(TEXTS, TENTH, SIZES.map((size) => sized('nats-rank', size)));
  fixed(TEXTS, 'keep-0.25-w32', ['nats']);
  matched(TEXTS, TENTH, ['nats-rank'], WAYS, { ranks: RANK });
  matched(QUESTIONS, QUARTER, SCORED, ['end']);
  matched(TEXTS, 'keep-0.15-w32', PATTERNS, ['both']);
  matched(TEXTS, 'keep-0.5-w64', PATTERNS, ['both']);
  for (const kind of ['h2o-mean', 'keynorm']) fixed(TEXTS, null, SIZES.map((size) => sized(kind, size)));
  matched(QUESTIONS, TENTH, SCORED, ['both', 'mean']);
  // Other texts, with 10% first.
  fixed(OTHER_TEXTS, null, ['full']);
  fixed(OTHER_TEXTS, TENTH, ['nats']);
  for (const size of [102, 51, 256]) {
    fixed(OTHER_TEXTS, RANK, [sized('nats-rank', size)]);
    for (const kind of MAIN) fixed(OTHER_TEXTS, null, [sized(kind, size)]);
  }
  matched(OTHER_TEXTS, TENTH, MAIN, ['both', 'mean', 'end']);
  // Facts further back than models/base was trained for.
  fixed(FAR_QUESTIONS, FAR, ['full', 'nats']);
  matched(FAR_QUESTIONS, FAR, ['window'], ['end'], { changed: FAR });
  // Two windows, with changes of q and k.
  fixed([...TEXTS, ...QUESTIONS], TWO, ['full', 'nats']);
  matched(TEXTS, TWO, MAIN, ['mean', 'end'], { changed: TWO });
  matched(QUESTIONS, TWO, ['window'], ['end'], { changed: TWO });
  return cells;
}
