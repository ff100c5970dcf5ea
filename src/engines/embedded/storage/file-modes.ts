/**
 * The permissions of a data directory's files. Only the owner can read and write them, whatever the umask.
 *
 * If the group may write to the directory (an operator has allowed it, for example with `chmod 2770`), the group may
 * read and write its files, and attach to its owner. Others never may.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'

const DIRECTORY_MODE = 0o700
export const FILE_MODE = 0o600
const GROUP_FILE_MODE = 0o660
const GROUP_MAY_WRITE = 0o020

/**
 * Make a directory and its missing parents. An existing directory keeps its mode. Node's own `recursive` loops for ever
 * below an existing directory that answers ENOENT, as those of /proc do.
 */
export function makePrivateDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: DIRECTORY_MODE })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' && dirname(path) !== path && !existsSync(dirname(path))) {
      makePrivateDirectory(dirname(path))
      makePrivateDirectory(path)
    } else if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) throw error
  }
}

/** The mode for files in a directory. */
export function fileModeIn(directory: string): number {
  return (statSync(directory).mode & GROUP_MAY_WRITE) === 0 ? FILE_MODE : GROUP_FILE_MODE
}

/** Give a file the mode for its directory's files, if this user may change it. */
export function protect(path: string, mode: number = fileModeIn(dirname(path))): void {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined || (found.mode & 0o777) === mode) return
  try {
    chmodSync(path, mode)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error
  }
}

/**
 * Set the mode of all files and sockets of a directory: an earlier version created them with the umask's mode, or the
 * group's permission has changed since.
 */
export function protectAll(directory: string, ours: RegExp): void {
  const mode = fileModeIn(directory)
  for (const name of readdirSync(directory)) if (ours.test(name)) protect(join(directory, name), mode)
}
