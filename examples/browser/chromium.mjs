/** Which Chromium is driven, and how it is started: without update traffic, and with a software GPU. */

import { existsSync } from 'node:fs';

/** The path in CHROMIUM, or else that of Debian's Chromium. */
export const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
if (!existsSync(executablePath)) {
  throw new Error(`there is no Chromium at ${executablePath}: install it (Debian: apt-get install chromium), or set CHROMIUM to its path`);
}

/** The flags include SwiftShader, which computes in software what a GPU would: slowly, but the same everywhere. */
export const flags = [
  '--headless=new', '--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader',
  '--enable-unsafe-swiftshader',
];
