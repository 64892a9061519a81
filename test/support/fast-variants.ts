/**
 * The kernels of gpu/wgsl/fast/, in every variant that an engine may ask for.
 * @module
 */
import {
  decodeAttention, decodeAttentionSubgroups, decodeMerge, decodeStep, hasDecodeSubgroups, immortalKeys, matmul,
  matrixMatmul, prefillAttention, prefillMatrix, tileKeys, vectorProduct,
} from '../../gpu/wgsl/fast/index.ts';
import type { FastKernel } from '../../gpu/wgsl/fast/template.ts';

const STORED = ['f32', 'f16', 'bf16'] as const;
const LAYOUTS = ['rows', 'columns'] as const;
const BOTH = [true, false] as const;

function* products(): Generator<FastKernel<never>> {
  for (const stored of STORED) {
    for (const bias of BOTH) {
      const sum = { bias, accumulate: !bias };
      for (const aligned of BOTH) {
        for (const subgroups of BOTH) {
          for (const rows of [1, 2, 8]) yield vectorProduct({ stored, rows, aligned, subgroups, ...sum });
        }
        for (const x of LAYOUTS) {
          for (const w of LAYOUTS) {
            for (const tile of [64, 128] as const) {
              yield matmul({ x: { stored: 'f32', layout: x, aligned }, w: { stored, layout: w, aligned }, tile, ...sum });
            }
          }
        }
      }
      for (const x of LAYOUTS) {
        for (const w of LAYOUTS) {
          for (const whole of BOTH) {
            for (const tile of [[64, 64], [128, 128]] as const) {
              yield matrixMatmul({ x: { stored: 'f32', layout: x }, w: { stored, layout: w }, tile, whole, ...sum });
              yield matrixMatmul({ x: { stored: 'f16', layout: x }, w: { stored, layout: w }, tile, whole, bias: false, accumulate: false });
            }
          }
        }
      }
    }
  }
}

function* decoding(): Generator<FastKernel<never>> {
  for (const stored of ['f32', 'f16'] as const) {
    for (const d of [7, 8, 64, 96, 128, 256]) {
      for (const [heads, group] of [[8, 4], [6, 1], [1, 7], [2, 16]]) {
        const slots = [{ slots: true, fresh: false }, { slots: true, fresh: true }] as const;
        for (const layout of [...BOTH.map((masked) => ({ block: 64, masked })), ...slots]) {
          if ('slots' in layout && layout.fresh && d % 4 > 0) continue; // the merge reads four numbers at a time
          const options = { heads, group, d, stored, layout };
          yield decodeAttention(options);
          yield decodeMerge(options, 64);
          if (!hasDecodeSubgroups(d)) continue;
          yield decodeAttentionSubgroups(options);
          yield decodeMerge(options, decodeStep(options));
        }
      }
    }
  }
}

function* prefilling(): Generator<FastKernel<never>> {
  yield immortalKeys();
  for (const group of [1, 2, 4, 7, 8]) {
    for (const d of [32, 64, 96, 128]) {
      for (const queries of ['f32', 'f16'] as const) yield prefillMatrix({ group, d, queries });
    }
    for (const d of [7, 64, 80, 128, 256]) {
      for (const stored of ['f32', 'f16'] as const) yield prefillAttention({ group, d, stored });
    }
  }
  for (const tile of [16, 32, 64, 128]) yield tileKeys(tile);
}

/** Every variant, once. */
export const fastVariants = (): FastKernel<never>[] => [...new Set([...products(), ...decoding(), ...prefilling()])];
