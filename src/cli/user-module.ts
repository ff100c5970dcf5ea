/** A module of the application, which a command loads for what it exports. */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { MillraceError } from '../base/errors.ts'

/** What the module exports. @throws INVALID_OPTION when it cannot be loaded */
export async function userModule(path: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return (await import(pathToFileURL(resolve(path)).href)) as Readonly<Record<string, unknown>>
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    const advice =
      code === 'ERR_UNKNOWN_FILE_EXTENSION'
        ? `: Node ${process.versions.node} does not load TypeScript. Use Node 22.18 or later, give the compiled JavaScript, or set NODE_OPTIONS="--import tsx"`
        : `: ${message}`
    throw new MillraceError(
      'INVALID_OPTION',
      `${path} cannot be loaded${advice}`,
      { option: 'module', path },
      { cause },
    )
  }
}
