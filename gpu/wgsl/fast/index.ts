/**
 * Kernels for the work that takes most of the time: products with weights, and attention.
 *
 * Each function takes what the code depends on and returns WGSL with its bindings and workgroups. Sizes that change
 * from call to call are parameters, so a model needs few kernels.
 * @module
 */
export {
  areFew, decodeAttention, type DecodeOptions, decodeParts, type DecodeSizes, LOWEST, partition,
} from './decode.ts';
export { decodeMerge, joinParts, noting, partsOfHead } from './decode-merge.ts';
export { decodeAttentionSubgroups, decodeStep, hasDecodeSubgroups } from './decode-subgroups.ts';
export { type Factor, matmul, type MatmulOptions, type ProductSizes } from './matmul.ts';
export { LEAST_OUTPUTS, type MatrixFactor, matrixMatmul, type MatrixMatmulOptions, matrixTile } from './matmul-matrix.ts';
export { type PortablePrefillOptions, portableTile, prefillAttention } from './prefill.ts';
export { BLOCK as LIST_BLOCK, immortalKeys, type PrefillSizes, tileKeys } from './prefill-lists.ts';
export { hasPrefillMatrix, prefillMatrix, type PrefillOptions, prefillTile } from './prefill-matrix.ts';
export { HALF, type Stored } from './stored.ts';
export { type AdapterInfo, type FastKernel, type Feature, runsOn, type Workgroups } from './template.ts';
export { vectorProduct, type VectorOptions } from './vector.ts';
