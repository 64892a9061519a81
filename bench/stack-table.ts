/**
 * The results of `npm run stacks` as a table and as a page for people to read.
 * @module
 */
import type { OperationError, StackReport } from './stack-measure.ts';

/** The JSON of `npm run stacks -- --json`. */
export interface StacksDocument {
  /** Version of gpu.js. */
  readonly gpuJs: string;
  readonly stacks: readonly StackReport[];
}

/** Matches the names of drivers that compute on the CPU. */
const SOFTWARE = /swiftshader|llvmpipe|lavapipe/i;

/** Matches the names of GPUs. */
const ON_GPU = /nvidia|amd|intel|apple/i;

/** A Markdown table with a row per operation and a column per stack, then the devices used and what was skipped. */
export function stacksTable({ gpuJs, stacks }: StacksDocument): string {
  const here = stacks.filter(({ operations }) => operations);
  const operations = [...new Set(here.flatMap((stack) => stack.operations!.map(({ operation }) => operation)))];
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const lines = [
    line(['operation', ...here.map(({ stack, runtime, engine }) =>
      `${stack}, ${runtime.split(/[ .]/, 2).join(' ')}${/web|wgsl/.test(stack) && ON_GPU.test(engine!) ? ', GPU' : ''}`)]),
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

/** The text of docs/stacks.md. */
export function stacksPage(found: StacksDocument): string {
  return `# Every stack against the float64 reference

This page is written by \`npm run stacks\`; do not edit it. The command measures in Node, starts Deno and Chromium to measure
there too, and skips what the machine does not have. To reproduce the table, set \`DENO\` to the path of Deno unless \`deno\` is on
the path, and \`VK_ICD_FILENAMES\` to the Vulkan driver for WebGPU in Node. The devices that were found are listed below the table.
\`--merge FILE\` adds the stacks of another machine, where FILE is what \`npm run stacks -- --json\` printed there.

Each cell gives the largest absolute error and then the largest error in float32 ULPs, over every element at three odd sizes.
Inputs are float32 numbers from a fixed seed, and the float64 reference is given the same ones: what is measured is the rounding
inside one operation. Backward operations are given the results of the float64 forward, rounded once.

One ULP (unit in the last place) is the distance between neighbouring float32 numbers at the true value, taken from the float64
result. An error of 0.5 or less means that the result was rounded only once, the best possible in float32. Where a sum cancels,
the true value is small, so its error is many ULPs although the absolute error is only that of the summands: there, read the
absolute error. True values below 2^-24 of the largest one in the same tensor count only for the absolute error. The two maxima
may be from different elements. \`0\` means no error at all. \`exact\` means whole numbers (token types, lifetimes, what a cache
holds) that must be the same, and are.

The last row is a greedy generation of models/nats: 200 tokens after a fixed prompt, each fed back, compared one by one with those
of the float64 reference in the same runtime. After a first difference the texts diverge. A token can differ only if the errors
of two logits add up to the lead of the highest logit over the second; the smallest of these leads is given below the table. The
greedy text of so small a model soon repeats itself, so late tokens add little.

The columns named wgsl are the engine of hand-written WGSL. Those of a GPU were measured there with
\`node dist/bench/stacks.js --stacks reference,wgsl,wgsl-f16 --json\`, and merged. \`compute f16\` rounds the factors of products of
many rows, and of attention of many queries, to float16, for matrix units, where tensors are large enough for these; most of the
table's are not, so [benchmarks-gpu.md](benchmarks-gpu.md) says what it costs in a whole model.

A software driver computes on the CPU what a GPU would compute: it shows that the kernels are right, not how a GPU rounds.

${stacksTable(found)}`;
}
