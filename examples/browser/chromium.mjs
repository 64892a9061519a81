/** Which Chromium is driven, and how it is started: quiet, offline, and with a GPU where the machine has none. */

/** CHROMIUM, else where Debian has it. */
export const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium';

/** SwiftShader computes what a GPU would: slowly, and everywhere the same. */
export const flags = [
  '--headless=new', '--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader',
  '--enable-unsafe-swiftshader',
];
