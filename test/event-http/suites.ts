/** The public conformance data, which lies beside the project and not in it. */
import { existsSync, readFileSync } from 'node:fs'

const folder = new URL('../../../shared/suites/', import.meta.url)

export interface FormatSuite {
  readonly validEvents: readonly { readonly id: string; readonly event: Record<string, unknown> }[]
  readonly invalidEvents: readonly { readonly id: string; readonly event: Record<string, unknown> }[]
  readonly validBatches: readonly { readonly id: string; readonly batch: readonly unknown[] }[]
  readonly invalidBatches: readonly { readonly id: string; readonly batch: readonly unknown[] }[]
}

/** The suite, or `undefined` with a loud word when the folder is not there. */
export function loadSuite<Suite>(name: string): Suite | undefined {
  const file = new URL(name, folder)
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as Suite
  console.warn(`\n!!! ../shared/suites/${name} is missing: ITS CASES DO NOT RUN. Put the suites beside the project to run them.\n`)
  return undefined
}
