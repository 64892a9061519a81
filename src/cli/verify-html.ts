/**
 * The page that `natsearch verify --html` writes: what each failing case looks like, with a picture of its errors.
 * @module
 */
import { commonWords, type Judged } from '../oracle/judge/common.ts';
import { captionOf } from '../oracle/judge/error-map.ts';
import { placesOf } from './verify-text.ts';
import type { CaseReport, ErrorMap } from '../oracle/types.ts';

/** A case that was judged, with the map of its errors if it fails. */
export interface PageCase extends Judged {
  readonly why: string;
  readonly maps: readonly ErrorMap[];
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

function picture(map: ErrorMap): string {
  const { tensor, shows, tile, tileAcross, down, across, cells } = map;
  const size = 14;
  const [width, height] = [(cells[0]?.length ?? 0) * size, cells.length * size];
  const said = (level: number): string => (level < 0 ? 'nothing' : level === 0 ? 'passes' : level > 9 ? 'NaN'
    : shows === 'pairs' ? 'wrong pairs' : `up to 10^${level} budgets`);
  const squares = cells.flatMap((row, y) => row.map((level, x) =>
    `<rect x="${x * size}" y="${y * size}" width="${size}" height="${size}" fill="${colourOf(level)}" stroke="#bbb" stroke-width="0.5">` +
    `<title>${down} from ${y * tile}, ${across} ${tileAcross === undefined ? x : `from ${x * tileAcross}`}: ${said(level)}</title></rect>`));
  const colours = shows === 'pairs' ? 'Red holds pairs that are wrongly seen or hidden, green none, white is hidden'
    : 'Green passes, yellow to red is an error of 10 to 10^9 budgets, black is NaN, white is hidden';
  return `<figure><svg width="${width}" height="${height}" role="img" aria-label="errors of ${tensor}">${squares.join('')}</svg>
<figcaption>${escape(captionOf(map).replace(/(?:: #|: \.|; \.).*/, ''))}. ${colours}.</figcaption></figure>`;
}

function caseOf({ report, why, maps }: PageCase): string {
  const { case: name, dtype, diagnosis, tensors } = report;
  const rows = tensors.filter(({ status }) => status !== 'skipped').map(({ name, status, note, failed, compared, worst }) =>
    `<tr class="${status === 'pass' ? 'pass' : 'fail'}"><td>${name}</td><td>${status}</td><td>${failed} of ${compared}</td><td>${worst ? worst.ratio.toExponential(1) : ''}</td><td>${escape(note ?? '')}</td></tr>`);
  const where = placesOf(report).map((line) => `<p>${escape(line)}.</p>`).join('');
  const shown = [...maps, ...diagnosis?.pairs ? [diagnosis.pairs] : []].map(picture).join('');
  return `<section id="${name}"><h2>${name} as ${dtype}</h2><p>${escape(why)}</p>
<p><strong>${escape(diagnosis?.cause ?? '')}</strong>: ${escape(diagnosis?.words ?? '')}</p>${where}
${shown}
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
