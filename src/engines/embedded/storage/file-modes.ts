/**
 * Who may read what is in a data directory: its owner alone, whatever the umask. Where the group may write to the directory (an operator has said so, as with
 * `chmod 2770`), the group may read and write its files, and attach to its owner, too; others never may.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'

const DIRECTORY_MODE = 0o700
export const FILE_MODE = 0o600
const GROUP_FILE_MODE = 0o660
const GROUP_MAY_WRITE = 0o020

/**
 * Make a directory, and those above it that are missing. One that is there keeps its mode. Node's own `recursive` never ends below a directory that is there and
 * answers ENOENT, as those of /proc do.
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

/** The mode of files in a directory. */
export function fileModeIn(directory: string): number {
  return (statSync(directory).mode & GROUP_MAY_WRITE) === 0 ? FILE_MODE : GROUP_FILE_MODE
}

/** Give a file the mode of its directory's files, where it is this user's to give. */
export function protect(path: string, mode: number = fileModeIn(dirname(path))): void {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined || (found.mode & 0o777) === mode) return
  try {
    chmodSync(path, mode)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error
  }
}

/** Give all files of a directory their mode: an earlier version made them by the umask, or the directory is the group's since. Sockets too. */
export function protectAll(directory: string, ours: RegExp): void {
  const mode = fileModeIn(directory)
  for (const name of readdirSync(directory)) if (ours.test(name)) protect(join(directory, name), mode)
}
