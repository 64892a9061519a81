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

/** Drivers that compute on the CPU, by what they call themselves. */
const SOFTWARE = /swiftshader|llvmpipe|lavapipe/i;

/** Markdown: operations down, stacks across; then which devices these were, and what was skipped. */
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
  const leads = here.flatMap(({ tokens }) => (tokens ? [tokens.lead] : []));
  const lead = leads.length ? ['', `The closest choice of a token was won by ${Math.min(...leads).toPrecision(2)} in logits.`] : [];
  const devices = here.map(({ runtime, engine }) =>
    `- ${runtime}: ${engine}${SOFTWARE.test(engine!) ? ', a software driver' : ''}`);
  const skipped = stacks.filter((stack) => stack.skipped !== undefined)
    .map(({ stack, runtime, skipped }) => `- ${runtime}: ${stack} skipped, ${skipped}`);
  return [...lines, ...lead, '', `Measured with gpu.js ${gpuJs} on`, '', ...devices, ...skipped, ''].join('\n');
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

Written by \`npm run stacks\`; do not edit. It measures in Node, starts Deno and Chromium to measure there too, and
skips what a machine does not have. For a table like this one, \`DENO\` names Deno unless \`deno\` is on the path, and
\`VK_ICD_FILENAMES\` the Vulkan driver of WebGPU in Node; the devices below the table are what was found.
Another machine's stacks join by \`--merge FILE\`, where FILE is what \`npm run stacks -- --json\` printed there.

A cell is the largest absolute error, then the largest error in float32 ULPs, over every element at three odd sizes.
Inputs come from a fixed seed and are float32 numbers, which the float64 reference is given too: what is measured is
the rounding inside one operation. A backward is given the float64 forward's results, rounded once.

One ULP (unit in the last place) is the distance between float32 neighbours at the true value, so it is computed from
the float64 result: 0.5 or less is a result rounded once, the best that float32 can hold. Where a sum cancels, the true
value is small and its ULPs are many while the absolute error stays that of the summands: read the absolute error
there. True values below 2^-24 of the largest one beside them count for the absolute error only. The two maxima need
not be of the same element. \`0\`: no error at all. \`exact\`: whole numbers (token types, lifetimes, what a cache holds)
that must be and are the same.

The last row is a greedy generation of models/nats: 200 tokens after a fixed prompt, each fed back, compared place by
place with those of the float64 reference in the same runtime. After a first difference the texts part. A token can
differ only where the errors of two logits add up to the lead that the likeliest had over the next; the least lead of
all is below the table. A greedy text of so small a model soon repeats itself, so late tokens add little.

A software driver computes on the CPU what a GPU would: it shows that the kernels are right, not how a GPU rounds.

${stacksTable(found)}`;
}
