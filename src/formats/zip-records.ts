/**
 * The records of ZIP archives, which zip.ts reads and zip-write.ts writes: how each begins, and what stands for more.
 * @module
 */

/** The header of a member, its entry in the directory, the end of the directory, and the same with 64 bits. */
export const LOCAL = 0x04034b50;
export const CENTRAL = 0x02014b50;
export const END = 0x06054b50;
export const END64 = 0x06064b50;
export const LOCATOR64 = 0x07064b50;
/** What a field of 32 bits, and one of 16, holds if the value is in a zip64 field instead. */
export const MORE = 0xffffffff;
export const MORE16 = 0xffff;
/** The flag of a name in UTF-8. */
export const UTF8: number = 1 << 11;
