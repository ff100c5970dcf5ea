/**
 * Starts the longest test files first, so that none of them runs alone at the end while the other workers are idle.
 *
 * Vitest sorts by the durations of the last run, or by file sizes if there was none. The longest files here, which run
 * the contract on a server, are the smallest.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Folders and files that took longer than a minute, longest first. */
const LONGEST = [
  'conformance/remote-unkind',
  'conformance/kafka',
  'engines/kafka-faults',
  'conformance/nats',
  'conformance/',
  'engines/copy',
  'embedded-storage/power-cut',
  'engines/',
  'external-log/conformance',
  'package/',
  'house/lint',
  'browser/',
]

function rank({ moduleId }: TestSpecification): number {
  const found = LONGEST.findIndex((part) => moduleId.includes(`/test/${part}`))
  return found < 0 ? LONGEST.length : found
}

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort((one, other) => rank(one) - rank(other))
  }
}
