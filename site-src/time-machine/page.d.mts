/** Bundles a source beside page.mjs into one classic script. */
export function bundle(name: string, options?: object): Promise<string>;
/** The page of `natsearch trace` without its trace. */
export function tracePage(): Promise<string>;
