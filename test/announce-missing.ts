/** Prints, before the first test, which programs are missing and which tests are skipped because of that. */
import { existsSync } from 'node:fs'
import { ENGINES, kindFor } from '../scripts/engines/engines.ts'
import { Missing } from '../scripts/engines/programs.ts'

const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

export function setup(): void {
  process.env['MILLRACE_ENGINES'] ??= 'present'
  const missing = ENGINES.flatMap((name) => {
    try {
      kindFor(name)
      return []
    } catch (error) {
      if (!(error instanceof Missing)) throw error
      return [`${name} (${error.message})`]
    }
  })
  if (!existsSync(CHROMIUM)) missing.push('pages in a browser (there is no Chromium)')
  if (missing.length > 0)
    console.warn(
      `\n!!! TESTS THAT DO NOT RUN HERE, because a program is missing:\n${missing.map((each) => `!!!   ${each}`).join('\n')}\n`,
    )
}
