/**
 * The page that `natsearch verify --html` writes: what each failing case looks like, with a picture of its errors.
 * @module
 */
import { commonWords, type Judged } from '../oracle/judge/common.ts';
import type { CaseReport, ErrorMap } from '../oracle/types.ts';

/** A case that was judged, with the map of its errors if it fails. */
export interface PageCase extends Judged {
  readonly why: string;
  readonly map: ErrorMap | undefined;
}

const escape = (text: string): string =>
  text.replace(/[&<>"]/g, (letter) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[letter]!);

/** From nothing to compare, over a passing tile, to errors of ever more budgets; NaN is black. */
function colourOf(level: number): string {
  if (level < 0) return '#ffffff';
  if (level === 0) return '#d7ead9';
  if (level > 9) return '#000000';
  return `hsl(${45 - 5 * level} 90% ${70 - 5 * level}%)`;
}

function picture({ tensor, tile, down, across, cells }: ErrorMap): string {
  const size = 14;
  const [width, height] = [(cells[0]?.length ?? 0) * size, cells.length * size];
  const squares = cells.flatMap((row, y) => row.map((level, x) =>
    `<rect x="${x * size}" y="${y * size}" width="${size}" height="${size}" fill="${colourOf(level)}" stroke="#bbb" stroke-width="0.5">` +
    `<title>${down} from ${y * tile}, ${across} ${across === 'keys' ? `from ${x * tile}` : x}: ${level < 0 ? 'nothing' : level === 0 ? 'passes' : level > 9 ? 'NaN' : across === 'keys' ? 'wrong pairs' : `up to 10^${level} budgets`}</title></rect>`));
  return `<figure><svg width="${width}" height="${height}" role="img" aria-label="errors of ${tensor}">${squares.join('')}</svg>
<figcaption>${tensor}: tiles of ${tile} ${down} down, ${across === 'keys' ? `tiles of ${tile} keys` : across} across. ${across === 'keys' ? 'Red holds pairs that are wrongly seen or hidden, green none, white is hidden' : 'Green passes, yellow to red is an error of 10 to 10^9 budgets, black is NaN'}.</figcaption></figure>`;
}

function caseOf({ report, why, map }: PageCase): string {
  const { case: name, dtype, diagnosis, tensors } = report;
  const rows = tensors.filter(({ status }) => status !== 'skipped').map(({ name, status, note, failed, compared, worst }) =>
    `<tr class="${status === 'pass' ? 'pass' : 'fail'}"><td>${name}</td><td>${status}</td><td>${failed} of ${compared}</td><td>${worst ? worst.ratio.toExponential(1) : ''}</td><td>${escape(note ?? '')}</td></tr>`);
  const where = diagnosis?.where?.length ? `<p>It fails ${escape(diagnosis.where.join(', '))}.</p>` : '';
  return `<section id="${name}"><h2>${name} as ${dtype}</h2><p>${escape(why)}</p>
<p><strong>${escape(diagnosis?.cause ?? '')}</strong>: ${escape(diagnosis?.words ?? '')}</p>${where}
${map ? picture(map) : ''}${diagnosis?.pairs ? picture(diagnosis.pairs) : ''}
<table><tr><th>tensor</th><th></th><th>failing</th><th>error/budget</th><th></th></tr>${rows.join('')}</table></section>`;
}

/** A page of its own, with no other file. */
export function pageOf(cases: readonly PageCase[], likeliest: readonly string[]): string {
  const failing = cases.filter(({ report }) => !report.pass);
  const list = (items: readonly string[]): string => (items.length > 0 ? `<ul>${items.map((item) => `<li>${escape(item)}</li>`).join('')}</ul>` : '');
  const passing = cases.filter(({ report }) => report.pass).map(({ report }: { report: CaseReport }) => report.case);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>natsearch verify</title><style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: 0.1rem 0.8rem 0.1rem 0; text-align: left; }
.fail td:nth-child(2) { color: #b00020; font-weight: bold; } .pass td:nth-child(2) { color: #1b6e2d; }
figure { margin: 1rem 0; } figcaption { color: #555; font-size: 0.85rem; }
</style></head><body>
<h1>natsearch verify: ${cases.length - failing.length} of ${cases.length} cases pass</h1>
${likeliest.length > 0 ? `<h2>Most likely</h2>${list(likeliest)}` : ''}${list(commonWords(cases))}
${failing.map(caseOf).join('\n')}
<h2>Passing</h2><p>${passing.join(', ') || 'none'}</p>
</body></html>
`;
}
