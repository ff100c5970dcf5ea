/**
 * Metrics in the text formats that Prometheus reads: its own format 0.0.4, and OpenMetrics 1.0.
 * @see https://prometheus.io/docs/instrumenting/exposition_formats/
 * @see https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
 */
import type { Histogram } from './histogram.ts'

export type Labels = Readonly<Record<string, string>>

/** A number with its labels. */
export type Sample = readonly [labels: Labels, value: number]
export type HistogramSample = readonly [labels: Labels, value: Histogram]

/** A metric with its samples. The name includes the unit, and not `_total`. */
export type Family = {
  readonly name: string
  readonly help: string
  readonly unit?: 'seconds' | 'bytes'
} & (
  | { readonly type: 'counter' | 'gauge'; readonly samples: readonly Sample[] }
  | { readonly type: 'histogram'; readonly samples: readonly HistogramSample[] }
)

export type Exposition = 'text' | 'openmetrics'

export const CONTENT_TYPES: Readonly<Record<Exposition, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
}

/** The text of the metrics. A family without samples is left out. */
export function prometheusText(families: readonly Family[], exposition: Exposition): string {
  const lines: string[] = []
  for (const family of families) {
    if (family.samples.length === 0) continue
    const open = exposition === 'openmetrics'
    const name = family.type === 'counter' && !open ? `${family.name}_total` : family.name
    lines.push(`# HELP ${name} ${escapedHelp(family.help, open)}`, `# TYPE ${name} ${family.type}`)
    if (open && family.unit !== undefined) lines.push(`# UNIT ${name} ${family.unit}`)
    if (family.type === 'histogram')
      for (const [labels, histogram] of family.samples) lines.push(...bucketLines(family.name, labels, histogram))
    else {
      const of = family.type === 'counter' ? `${family.name}_total` : family.name
      for (const [labels, value] of family.samples) lines.push(`${of}${labelText(labels)} ${number(value)}`)
    }
  }
  if (exposition === 'openmetrics') lines.push('# EOF')
  return `${lines.join('\n')}\n`
}

function bucketLines(name: string, labels: Labels, { bounds, counts, sum, count }: Histogram): string[] {
  let below = 0
  const lines = bounds.map((bound, at) => {
    below += counts[at] ?? 0
    return `${name}_bucket${labelText({ ...labels, le: boundText(bound) })} ${below}`
  })
  lines.push(`${name}_bucket${labelText({ ...labels, le: '+Inf' })} ${count}`)
  lines.push(`${name}_sum${labelText(labels)} ${number(sum)}`, `${name}_count${labelText(labels)} ${count}`)
  return lines
}

/** The bound as text. OpenMetrics requires a decimal point in it; the older format allows one. */
function boundText(bound: number): string {
  return Number.isInteger(bound) ? `${bound}.0` : String(bound)
}

function number(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf'
  return String(value)
}

function labelText(labels: Labels): string {
  const entries = Object.entries(labels)
  if (entries.length === 0) return ''
  return `{${entries.map(([name, value]) => `${name}="${escaped(value).replaceAll('"', '\\"')}"`).join(',')}}`
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}

function escapedHelp(text: string, open: boolean): string {
  return open ? escaped(text).replaceAll('"', '\\"') : escaped(text)
}
