/**
 * Products with weights: errors and times.
 * @module
 */
import {
  type FastKernel, matmul, matrixMatmul, type ProductSizes, runsOn, type Stored, vectorProduct,
} from '../../gpu/wgsl/fast/index.ts';
import { type Bench, relativeError } from './device.ts';
import type { Report } from './main.ts';

/** x [R,K] times w [M,K]^T, over so many copies of w that no cache holds them; some rows are compared. */
async function product(
  bench: Bench, report: Report, kernel: FastKernel<ProductSizes>, sizes: ProductSizes,
  ofX: 'f32' | 'f16', ofW: Stored, cold: boolean,
): Promise<void> {
  const { R, M, K } = sizes;
  if (!runsOn(bench.device, bench.adapter.info, kernel)) return;
  const bytes = M * K * (ofW === 'f32' ? 4 : 2);
  const copies = cold ? Math.min(40, Math.ceil(2.5e8 / bytes)) : 1;
  const x = await bench.random(R * K, ofX);
  const y = bench.empty(R * M);
  const weights = await Promise.all(Array.from({ length: copies }, () => bench.random(M * K, ofW, 0.02)));
  const calls = await Promise.all(weights.map((w) => bench.call(kernel, sizes, { ...sizes }, { x, w, y })));
  const took = (await bench.time(calls)) / copies;
  const w = weights[copies - 1];
  const [found, truth]: [number[], number[]] = [[], []];
  for (let n = 0; n < 6; n++) {
    const [r, m] = [Math.floor((n * (R - 1)) / 5), Math.floor((n * (M - 8)) / 5)];
    const row = await bench.numbers(x, ofX, r * K, K);
    found.push(...await bench.numbers(y, 'f32', r * M + m, 8));
    for (let i = 0; i < 8; i++) {
      const column = await bench.numbers(w, ofW, (m + i) * K, K);
      truth.push(row.reduce((sum, value, k) => sum + value * column[k], 0));
    }
  }
  const error = relativeError(found, truth);
  const tera = (2 * R * M * K) / took / 1e6;
  report({
    what: `${kernel.name}, x ${ofX}, [${R},${K}] x [${M},${K}]`, us: took, error,
    rate: cold ? `${(bytes / took / 1000).toFixed(0)} GB/s` : `${tera.toFixed(1)} TFLOP/s`,
  });
  bench.free();
}

const rows = (stored: Stored) => ({ stored, layout: 'rows', aligned: true }) as const;
/** Both factors in rows, for whole tiles. */
const inRows = (x: Stored, w: Stored) =>
  ({ x: { stored: x, layout: 'rows' }, w: { stored: w, layout: 'rows' }, whole: true }) as const;
const plain = { bias: false, accumulate: false };

/** Tiled products. */
export async function tiledProducts(bench: Bench, quick: boolean, report: Report): Promise<void> {
  const big = quick ? { R: 192, M: 256, K: 128 } : { R: 4096, M: 4096, K: 4096 };
  for (const [tile, depth] of [[[128, 128], 64], [[256, 128], 32], [[64, 64], 64]] as const) {
    for (const x of ['f16', 'f32'] as const) {
      const kernel = matrixMatmul({ ...inRows(x, 'f16'), tile, depth, ...plain });
      await product(bench, report, kernel, big, x, 'f16', false);
    }
  }
  const ragged = matrixMatmul({ ...inRows('f32', 'bf16'), whole: false, tile: [128, 128], ...plain });
  await product(bench, report, ragged, { R: 1000, M: 2000, K: 1016 }, 'f32', 'bf16', false);
  for (const [R, M] of quick ? [] : [[512, 2048], [4096, 5632], [32, 2048]]) {
    const sizes = { R, M, K: 2048 };
    for (const tile of [[128, 128], [64, 64]] as const) {
      const kernel = matrixMatmul({ ...inRows('f32', 'f16'), tile, ...plain });
      await product(bench, report, kernel, sizes, 'f32', 'f16', false);
    }
  }
  for (const tile of [128, 64] as const) {
    for (const stored of ['f32', 'f16'] as const) {
      await product(bench, report, matmul({ x: rows('f32'), w: rows(stored), tile, ...plain }), big, 'f32', stored, false);
    }
  }
}

/** Products of a few rows. */
export async function vectorProducts(bench: Bench, quick: boolean, report: Report): Promise<void> {
  const shapes = quick ? [[64, 256], [40, 512]] as const
    : [[2048, 2048], [11264, 2048], [2048, 5632], [32000, 2048], [28672, 4096]] as const;
  for (const stored of ['f16', 'bf16', 'f32'] as const) {
    for (const [M, K] of stored === 'f16' ? shapes : shapes.slice(1, 2)) {
      for (const subgroups of [true, false]) {
        const kernel = vectorProduct({ stored, rows: 1, aligned: true, subgroups, ...plain });
        await product(bench, report, kernel, { R: 1, M, K }, 'f32', stored, true);
      }
    }
  }
  for (const R of [2, 4, 8]) {
    const kernel = vectorProduct({ stored: 'f16', rows: R, aligned: true, subgroups: true, ...plain });
    await product(bench, report, kernel, { R, M: shapes[1][0], K: shapes[1][1] }, 'f32', 'f16', true);
  }
}
