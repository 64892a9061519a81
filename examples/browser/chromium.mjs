/** Which Chromium is driven, and how it is started: quiet, offline, and with a GPU where the machine has none. */

import { existsSync } from 'node:fs';

/** CHROMIUM, else where Debian has it. */
export const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
if (!existsSync(executablePath)) {
  throw new Error(`there is no Chromium at ${executablePath}: install it (Debian: apt-get install chromium), or name one in CHROMIUM`);
}

/** SwiftShader computes what a GPU would: slowly, and everywhere the same. */
export const flags = [
  '--headless=new', '--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader',
  '--enable-unsafe-swiftshader',
];
