/**
 * What `npm run stacks` found, for people.
 * @module
 */
import type { OperationError, StackReport } from './stack-measure.ts';

/** The JSON of `npm run stacks -- --json`. */
export interface StacksDocument {
  /** Version of gpu.js. */
  readonly gpuJs: string;
  readonly stacks: readonly StackReport[];
}

/** Markdown: operations down, stacks across; then what was skipped, and which devices these were. */
export function stacksTable({ gpuJs, stacks }: StacksDocument): string {
  const here = stacks.filter(({ operations }) => operations);
  const operations = [...new Set(here.flatMap((stack) => stack.operations!.map(({ operation }) => operation)))];
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const lines = [
    line(['operation', ...here.map(({ stack, runtime }) => `${stack}, ${runtime.split(/[ .]/, 2).join(' ')}`)]),
    line(['---', ...here.map(() => '---')]),
    ...operations.map((name) => line([
      name, ...here.map((stack) => shown(stack.operations!.find(({ operation }) => operation === name))),
    ])),
  ];
  if (here.some(({ tokens }) => tokens)) {
    lines.push(line(['tokens of the shipped model that agree', ...here.map(({ tokens }) =>
      (tokens ? `${tokens.agree} of ${tokens.of}` : 'not measured'))]));
  }
  const skipped = stacks.filter((stack) => stack.skipped !== undefined)
    .map(({ stack, runtime, skipped }) => `- ${stack}, ${runtime}: skipped, ${skipped}`);
  const devices = here.map(({ stack, runtime, engine }) => `- ${stack}: ${engine}, ${runtime}`);
  return [...lines, '', `gpu.js ${gpuJs}.`, '', ...devices, ...skipped, ''].join('\n');
}

function shown(error: OperationError | undefined): string {
  if (!error) return '';
  const { wrong, elements, maxError, maxUlps } = error;
  if (wrong !== undefined) return wrong === 0 ? 'exact' : `${wrong} of ${elements} WRONG`;
  if (maxError === 0) return '0';
  return `${maxError!.toExponential(1)} / ${maxUlps! < 10 ? maxUlps!.toFixed(1) : Math.round(maxUlps!)}`;
}

/** docs/stacks.md. */
export function stacksPage(found: StacksDocument): string {
  return `# Every stack against the float64 reference

Written by \`npm run stacks\`; do not edit. Stacks of other runtimes come from \`--merge FILE\`, where FILE is what
\`bench/stacks.ts --json\` printed there (\`deno run -A bench/stacks.ts --stacks webgpu --json\`).

A cell is the largest absolute error, then the largest error in float32 ULPs, over every element at three odd sizes.
Inputs come from a fixed seed and are float32 numbers, which the float64 reference is given too: what is measured is
the rounding inside one operation. A backward is given the float64 forward's results, rounded once. One ULP is the
distance between float32 neighbours at the true value: where a sum cancels, the true value is small and its ULPs are
many while the absolute error stays that of the summands; true values below 2^-24 of the largest one beside them count
for the absolute error only. \`0\`: no error at all. \`exact\`: whole numbers (token types, lifetimes, what a cache
holds) that must be and are the same.

The last row is a greedy generation of models/nats: 200 tokens after a fixed prompt, each fed back, compared place by
place with those of the float64 reference. After a first difference the texts part.

${stacksTable(found)}`;
}
