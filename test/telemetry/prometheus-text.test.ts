/** The text of `/metrics`, read back by a parser of others. */
import parse from 'parse-prometheus-text-format'
import { describe, expect, test } from 'vitest'
import { Histogram } from '../../src/telemetry/histogram.ts'
import { type Family, prometheusText } from '../../src/telemetry/prometheus-text.ts'

const histogram = new Histogram([0.5, 1, 10])
for (const seconds of [0.1, 0.5, 0.7, 5, 50]) histogram.record(seconds)
const families: Family[] = [
  { name: 'sent', type: 'counter', help: 'All.', samples: [[{ channel: 'a' }, 3]] },
  {
    name: 'lag_seconds',
    type: 'gauge',
    unit: 'seconds',
    help: 'With "quotes", a \\ and\na line.',
    samples: [
      [{ channel: 'with "quotes", a \\ and\na line' }, 1.5],
      [{}, Number.NaN],
    ],
  },
  { name: 'took_seconds', type: 'histogram', unit: 'seconds', help: 'Time.', samples: [[{ channel: 'a' }, histogram]] },
  { name: 'none', type: 'gauge', help: 'Nothing.', samples: [] },
]

describe('text 0.0.4', () => {
  const text = prometheusText(families, 'text')
  test('is read back by a parser', () => {
    expect(parse(text)).toEqual([
      { name: 'sent_total', help: 'All.', type: 'COUNTER', metrics: [{ value: '3', labels: { channel: 'a' } }] },
      {
        name: 'lag_seconds',
        help: expect.stringContaining('With "quotes"'),
        type: 'GAUGE',
        metrics: [{ value: '1.5', labels: { channel: 'with "quotes", a \\ and\na line' } }, { value: 'NaN' }],
      },
      {
        name: 'took_seconds',
        help: 'Time.',
        type: 'HISTOGRAM',
        // This parser leaves the labels of histograms out.
        metrics: [{ buckets: { '0.5': '2', '1.0': '3', '10.0': '4', '+Inf': '5' } }],
      },
    ])
  })
  test('has a line each, and ends with a line break', () => {
    expect(text.endsWith('\n')).toBe(true)
    for (const line of text.trimEnd().split('\n')) expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|\w+(\{.*\})? \S+)$/)
  })
})

test('OpenMetrics names counters without _total, has units, and ends with EOF', () => {
  expect(prometheusText(families, 'openmetrics').split('\n')).toEqual([
    '# HELP sent All.',
    '# TYPE sent counter',
    'sent_total{channel="a"} 3',
    '# HELP lag_seconds With \\"quotes\\", a \\\\ and\\na line.',
    '# TYPE lag_seconds gauge',
    '# UNIT lag_seconds seconds',
    'lag_seconds{channel="with \\"quotes\\", a \\\\ and\\na line"} 1.5',
    'lag_seconds NaN',
    '# HELP took_seconds Time.',
    '# TYPE took_seconds histogram',
    '# UNIT took_seconds seconds',
    'took_seconds_bucket{channel="a",le="0.5"} 2',
    'took_seconds_bucket{channel="a",le="1.0"} 3',
    'took_seconds_bucket{channel="a",le="10.0"} 4',
    'took_seconds_bucket{channel="a",le="+Inf"} 5',
    'took_seconds_sum{channel="a"} 56.3',
    'took_seconds_count{channel="a"} 5',
    '# EOF',
    '',
  ])
})
