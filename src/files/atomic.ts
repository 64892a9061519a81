/**
 * Writes files so that they appear whole or not at all: to a temporary file beside each, flushed to the disk and then
 * renamed.
 * @module
 */
import { StorageError } from '../core/errors.ts';
import { builtin } from './builtin.ts';
import { findPlace, type Place } from './place.ts';
import { named } from './storage-error.ts';
import { writeInto } from './write-into.ts';

/**
 * Writes a file so that it appears whole or not at all. If anything fails, the file that was there is left as it was.
 * A symbolic link is kept, and its target is written. Devices are written into, and pipes once they have a reader.
 *
 * @throws {StorageError} If it cannot be written.
 */
export async function writeFileAtomic(path: string, content: Uint8Array | string): Promise<void> {
  await writeFilesAtomic([[path, content]]);
}

/**
 * Writes files that belong together, each as writeFileAtomic does. None is renamed before all are on the disk.
 *
 * @throws {StorageError} If one of them cannot be written.
 */
export async function writeFilesAtomic(files: readonly (readonly [string, Uint8Array | string])[]): Promise<void> {
  const { rename, rm } = builtin('node:fs/promises');
  const { basename, dirname } = builtin('node:path');
  const written: { path: string; temporary: string; target: string }[] = [];
  let current = '';
  try {
    for (const [path, content] of files) {
      current = path;
      const place = await findPlace(path);
      if (place.kind === 'folder') named('write', path)({ code: 'EISDIR' });
      if (place.kind === 'disk' || place.kind === 'socket') {
        throw new StorageError(`cannot write ${path}, which is a ${place.kind}: name a file`);
      }
      if (place.kind === 'stream' || place.kind === 'pipe') {
        await writeInto(place.path, content, { wait: place.kind === 'pipe' });
        continue;
      }
      await removeLeftovers(dirname(place.path), basename(place.path));
      const temporary = temporaryName(place.path);
      written.push({ path, temporary, target: place.path });
      await writeTemporary(temporary, content, place);
    }
    for (const { path, temporary, target } of written) {
      current = path;
      await rename(temporary, target);
    }
  } catch (error) {
    for (const { temporary } of written) await rm(temporary, { force: true }).catch(() => undefined);
    named('write', current)(error);
  }
}

async function writeTemporary(path: string, content: Uint8Array | string, { mode }: Place): Promise<void> {
  const { open } = builtin('node:fs/promises');
  const file = await open(path, 'wx');
  try {
    if (mode !== undefined) await file.chmod(mode).catch(() => undefined); // some file systems have no permissions
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The age in ms from which a temporary file counts as abandoned even if its process cannot be asked. */
const ABANDONED = 86_400_000;
const TEMPORARY = /\.([0-9a-f]{8})-(\d+)-[0-9a-z]+\.tmp$/;

/** A name for a temporary file that no other write, process or machine uses, and that tells who made it. */
export function temporaryName(path: string): string {
  const { pid } = (globalThis as unknown as { process: { pid: number } }).process;
  return `${path}.${hostTag()}-${pid}-${Math.random().toString(36).slice(2)}.tmp`;
}

/** Removes temporary files in `folder` whose writer was killed: all of them, or those of the file `name`. */
export async function removeLeftovers(folder: string, name?: string): Promise<void> {
  const { readdir, rm, stat } = builtin('node:fs/promises');
  const { join } = builtin('node:path');
  for (const other of await readdir(folder).catch(() => [])) {
    const [ending, host, pid] = TEMPORARY.exec(other) ?? [];
    if (ending === undefined || (name !== undefined && other !== name + ending)) continue;
    const file = join(folder, other);
    const age = await stat(file).then(({ mtimeMs }) => Date.now() - mtimeMs, () => 0);
    if ((host === hostTag() && hasEnded(Number(pid))) || age > ABANDONED) {
      await rm(file, { force: true }).catch(() => undefined);
    }
  }
}

function hasEnded(pid: number): boolean {
  try {
    (globalThis as unknown as { process: { kill(pid: number, signal: number): void } }).process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as { code?: string }).code === 'ESRCH';
  }
}

let tag: string | undefined;

/** Tells apart machines that share a disk. */
function hostTag(): string {
  tag ??= builtin('node:crypto').createHash('sha256').update(hostName()).digest('hex').slice(0, 8);
  return tag;
}

function hostName(): string {
  try {
    return builtin('node:os').hostname();
  } catch {
    return ''; // Deno tells only with permission
  }
}
