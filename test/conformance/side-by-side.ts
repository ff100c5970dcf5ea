/**
 * Vitest's `test`, with several scenarios at a time, because they mostly wait. Scenarios that measure memory (clause
 * 10), and those in which an instance loses its lease by silence (clause 11), run alone.
 */
import { test } from 'vitest'
import type { ConformanceTest } from '../../src/testing/conformance/conformance.ts'

const ALONE = /^1[01]-/

export const sideBySide: ConformanceTest = Object.assign(
  (name: string, run: () => Promise<void>, timeoutMs?: number): void =>
    (ALONE.test(name) ? test : test.concurrent)(name, run, timeoutMs),
  { skip: (name: string, run: () => Promise<void>): void => test.skip(name, run) },
)
