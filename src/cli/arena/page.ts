/**
 * The page of an arena: quality against memory, in plots that need no script and no network.
 * @module
 */
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { kindOf, parsePolicy } from '../../policies/index.ts';
import { nameOf, type Standing, type Standings } from './report.ts';

/** What the page says about itself. */
export interface PageFacts {
  readonly title: string;
  /** The command line that measures the same. */
  readonly command: string;
  readonly facts: readonly (readonly [string, string])[];
  /** The tables, as text. */
  readonly tables: string;
}

/** A point of a plot. */
interface Point {
  /** Where it is drawn, near its share of the cache in per cent. */
  readonly x: number;
  readonly share: number;
  readonly y: number;
  readonly low: number;
  readonly high: number;
  readonly who: string;
}

/** How far apart policies of one budget are drawn, as a share of it. */
const BESIDE = 0.012;

/** Colours that stay apart for the colour-blind (Okabe and Ito 2008), in the order of first need. */
const COLOURS = ['#d55e00', '#0072b2', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8a6d00', '#777777', '#7b4fb5'];

const STYLE = `
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; flex: 1 1 20rem; min-width: 0; }
svg { max-width: 100%; height: auto; background: transparent; }
pre { overflow-x: auto; font-size: 0.8rem; } code { overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; } dd { margin: 0; overflow-wrap: anywhere; }
.key { display: flex; flex-wrap: wrap; gap: 0 1rem; padding: 0; list-style: none; font-size: 0.9rem; }
`;

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

/** Whom a point belongs to: learned types by name, and everything else by the kind of policy. */
function whoOf(row: Standing): string {
  const { learned, ranks, name } = kindOf(parsePolicy(row.policy));
  if (learned) return nameOf(row);
  const shown = name === 'growing' ? 'window or streaming' : name;
  return ranks ? nameOf({ policy: shown, learner: row.learner }) : shown;
}

/** Writes the page. */
export function arenaPage(all: readonly Standings[], { title, command, facts, tables }: PageFacts): string {
  const sections = all.map((one) => section(one)).join('\n');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escaped(title)}</h1>
<dl>${facts.map(([name, value]) => `<dt>${escaped(name)}</dt><dd>${escaped(value)}</dd>`).join('')}</dl>
<p>Measured by <code>${escaped(command)}</code></p>
<p>Bars are standard errors of the difference from full attention, paired over contexts or questions. Memory is the share of the
entries of a full cache that is held: in the mean over time, and at the end.</p>
${sections}
<h2>Tables</h2>
<pre>${escaped(tables)}</pre>
</body>
</html>
`;
}

function section({ subject, kind, count, saysNothing, rows }: Standings): string {
  const [full, ...others] = rows;
  const text = kind === 'text';
  const grid = others.filter(({ match }) => match === undefined);
  const learns = ({ policy }: Standing): number => Number(kindOf(parsePolicy(policy)).learned ?? false);
  const who = [...new Set([...grid].sort((a, b) => learns(b) - learns(a)).map(whoOf))];
  const key = who.map((name, n) => `<li><span aria-hidden="true" style="color:${COLOURS[n % COLOURS.length]}">●</span> ${escaped(name)}</li>`);
  const what = text ? `perplexity, ${count} contexts` : `right answers in %, ${count} questions`;
  const plots = (['meanLiveShare', 'endLiveShare'] as const).map((by) => {
    const caption = `${subject}: ${what}, against the ${by === 'meanLiveShare' ? 'mean memory' : 'memory at the end'}`;
    const points = grid.map((row) => pointOf(row, by, text, full.value, who));
    return `<figure>${plot(points, who, text ? full.value : 100 * full.value, text, caption)}<figcaption>${escaped(caption)}</figcaption></figure>`;
  });
  const warning = saysNothing ? '<p>Full attention answers less than 80%: this says nothing about caches.</p>' : '';
  return `<section><h2>${escaped(subject)}</h2>${warning}<div class="plots">${plots.join('')}</div><ul class="key">${key.join('')}<li>dashed: full attention</li></ul></section>`;
}

function pointOf(
  row: Standing, by: 'meanLiveShare' | 'endLiveShare', text: boolean, full: number, all: readonly string[],
): Point {
  const y = text ? row.value : 100 * row.value;
  const error = (row.standardError ?? 0) * (text ? full / 100 : 1);
  const who = whoOf(row);
  // Equal budgets are drawn side by side, or their bars would hide one another.
  const aside = kindOf(parsePolicy(row.policy)).learned ? 1 : 1 + BESIDE * (all.indexOf(who) - all.length / 2);
  return { x: 100 * row[by] * aside, share: 100 * row[by], y, low: y - error, high: y + error, who };
}

/** One plot as SVG. */
function plot(
  points: readonly Point[], who: readonly string[], full: number, text: boolean, label: string,
): string {
  const { document } = parseHTML('<html><body></body></html>');
  const data = [...points].sort((a, b) => a.x - b.x);
  const figure = Plot.plot({
    document, width: 520, height: 340, ariaLabel: label, style: { fontSize: '12px' },
    x: { label: '% of a full cache', type: 'log', tickFormat: (x: number) => `${Number(x.toPrecision(2))}` },
    y: { grid: true, label: null, nice: true, ...(!text && { domain: [0, 100] }) },
    color: { domain: [...who], range: who.map((_, n) => COLOURS[n % COLOURS.length]) },
    marks: [
      Plot.ruleY([full], { strokeDasharray: '4 3' }),
      Plot.line(data, { x: 'x', y: 'y', z: 'who', stroke: 'who', strokeWidth: 1.5 }),
      Plot.ruleX(data, { x: 'x', y1: 'low', y2: 'high', stroke: 'who' }),
      Plot.dot(data, {
        x: 'x', y: 'y', fill: 'who', r: 3.5,
        title: ({ who: name, share, y }: Point) => `${name}: ${y.toPrecision(4)} at ${share.toFixed(1)}%`,
      }),
    ],
  });
  return figure.outerHTML;
}
