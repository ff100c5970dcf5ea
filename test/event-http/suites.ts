/** The public conformance data: test/fixtures/suites/README.md. */
import { readFileSync } from 'node:fs'

const folder = new URL('../fixtures/suites/', import.meta.url)

export interface FormatSuite {
  readonly validEvents: readonly { readonly id: string; readonly event: Record<string, unknown> }[]
  readonly invalidEvents: readonly { readonly id: string; readonly event: Record<string, unknown> }[]
  readonly validBatches: readonly { readonly id: string; readonly batch: readonly unknown[] }[]
  readonly invalidBatches: readonly { readonly id: string; readonly batch: readonly unknown[] }[]
}

export function loadSuite<Suite>(name: string): Suite {
  return JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as Suite
}
