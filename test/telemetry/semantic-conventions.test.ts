/** The names that Millrace writes stand in OpenTelemetry's own list. */
import * as conventions from '@opentelemetry/semantic-conventions/incubating'
import { expect, test } from 'vitest'
import { ATTR, METRIC, systemOf } from '../../src/telemetry/semantic-conventions.ts'

test('attributes and metrics are those of the conventions', () => {
  const known = new Set<unknown>(Object.values(conventions))
  for (const name of [...Object.values(ATTR), ...Object.values(METRIC)])
    expect([name, known.has(name)]).toEqual([name, true])
})

test('a broker is named as its clients know it', () => {
  expect(['memory', 'file', 'kafka', 'nats'].map(systemOf)).toEqual(['millrace', 'millrace', 'kafka', 'nats'])
})
