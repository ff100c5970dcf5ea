/** The built command line, run as a process of its own. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'

/** The program of the `millrace` command. `npm test` builds it before. */
export const MAIN = join(import.meta.dirname, '../../dist/cli/main.js')

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface CommandLineOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
}

/** Run `millrace` with these arguments. It is killed after a minute, and then its code is NaN. */
export function runMillrace(args: readonly string[], options: CommandLineOptions = {}): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { ...options, timeout: 60_000 }, (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code), out, err }),
    )
  })
}
