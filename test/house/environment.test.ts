import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { describe, expect, it } from 'vitest'

/** Programs that some tests start, and without which they are skipped. In CI all of them must be installed. */
const PROGRAMS = ['chromium', 'redis-server', 'nats-server']

function isInstalled(program: string, folders: readonly string[]): boolean {
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

describe('the environment', () => {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/bin', '/usr/sbin']

  it.runIf(process.env['CI'] === 'true').each(PROGRAMS)('in CI has %s', (program) => {
    expect(isInstalled(program, folders)).toBe(true)
  })

  it('the check finds what is missing', () => {
    expect(isInstalled('no-such-program', folders)).toBe(false)
  })
})
