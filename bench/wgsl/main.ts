/**
 * Checks the fast kernels against float64 and times them, on the GPU that Dawn finds:
 * `npm run bench:kernels [-- products vectors decode prefill backward training]`, and with --quick in small, which
 * shows that it works. peers.py measures PyTorch on the same machine.
 * @module
 */
import { decoding, prefilling } from './attention.ts';
import { backwards } from './backward.ts';
import { Bench } from './device.ts';
import { tiledProducts, vectorProducts } from './products.ts';
import { largeTrainingSteps, trainingSteps } from './step.ts';

/** One line of the table. */
export interface Line {
  readonly what: string;
  readonly us: number;
  /** ‖found - truth‖ / ‖truth‖ of a sample. */
  readonly error: number;
  readonly rate: string;
}
export type Report = (line: Line) => void;

const CASES = {
  products: tiledProducts, vectors: vectorProducts, decode: decoding, prefill: prefilling, backward: backwards,
  training: trainingSteps, 'training-110m': largeTrainingSteps,
};

const bench = await Bench.open(process.argv.includes('--quick') ? 1 : 400);
const { vendor, architecture, device, description } = bench.adapter.info;
console.log(`# ${[vendor, architecture, device, description].join(' | ')}; Node ${process.version}`);
console.log(`# ${[...bench.device.features].filter((name) => /f16|subgroup|timestamp/.test(name)).join(' ')}`);
const names = process.argv.slice(2).filter((name) => name !== '--quick');
const quick = process.argv.includes('--quick');
for (const [name, run] of Object.entries(CASES)) {
  if (names.length > 0 && !names.includes(name)) continue;
  try {
    await run(bench, quick, ({ what, us, error, rate }) => {
      console.log(`${us.toFixed(1).padStart(10)} us ${rate.padStart(14)}  error ${error.toExponential(1)}  ${what}`);
    });
  } catch (error) {
    console.error(`${name}: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}
process.exit();
