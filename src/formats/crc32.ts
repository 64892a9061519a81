/**
 * The checksum of ZIP archives.
 * @module
 */

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

/** The CRC-32 that ZIP uses (ISO 3309). */
export function crc32(bytes: Uint8Array): number {
  let crc = -1;
  for (let n = 0; n < bytes.length; n++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ bytes[n]) & 0xff];
  return ~crc >>> 0;
}
