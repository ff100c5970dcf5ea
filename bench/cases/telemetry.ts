/**
 * End to end without telemetry, with metrics only, with one of a hundred chains of events traced, and with all traced.
 * It uses the real OpenTelemetry SDK, with a batch processor whose exporter drops the spans.
 */
import * as api from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { openTelemetry } from 'millrace/otel'
import type { Case, Figures, Params, Row } from '../case.ts'
import { median } from '../load.ts'
import { loadOf, MILLRACE } from '../loads.ts'
import { MillraceSystem } from '../millrace.ts'
import type { OpenSystem, Setting } from '../system.ts'
import { measureEndToEnd } from './end-to-end.ts'

/** The part of the chains that is traced; null for no telemetry. */
const SAMPLES: readonly (readonly [load: string, sample: number | null])[] = [
  ['off', null],
  ['metrics only', 0],
  ['1 % traced', 0.01],
  ['100 % traced', 1],
]
/** What 1 % may cost at most. */
const KEPT_MIN = 0.95

function registerSdk(): void {
  const exporter = {
    export: (_: unknown, done: (result: { code: number }) => void) => done({ code: 0 }),
    shutdown: async () => undefined,
  }
  api.trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] }))
  api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
}

async function measure(_: OpenSystem, setting: Setting, params: Params): Promise<Figures> {
  const { sample } = params
  const open = async ({ directory, concurrency }: Setting): Promise<MillraceSystem> => {
    if (sample === undefined) return MillraceSystem.at(`file:${directory}`, concurrency)
    registerSdk()
    return MillraceSystem.at(`file:${directory}`, concurrency, openTelemetry(api, { sample }))
  }
  return measureEndToEnd(open, setting, params)
}

export const telemetry: Case = {
  name: 'telemetry',
  title: 'Telemetry, end to end, 1,000 publishes in flight',
  measure,
  async run(bench) {
    const params = loadOf(bench, MILLRACE, 1000)
    const measured = SAMPLES.map(([load, sample]) => ({ load, sample, figures: [] as Figures[] }))
    for (let round = 0; round < bench.rounds; round++)
      for (const { sample, figures } of measured)
        figures.push(await bench.measure('telemetry', MILLRACE, sample === null ? params : { ...params, sample }))
    const off = median((measured[0]?.figures ?? []).map(({ rate }) => rate ?? Number.NaN))
    return measured.map(({ load, sample, figures }): Row => {
      const rates = figures.map(({ rate }) => rate ?? Number.NaN)
      const kept = median(rates) / off
      return {
        load,
        subject: MILLRACE,
        value: median(rates),
        unit: 'events/s',
        rounds: rates,
        note: `${median(figures.map((each) => each['cpuUs'] ?? Number.NaN)).toFixed(1)} µs of processor each`,
        ...(sample === 0.01 && {
          checks: [{ of: 'of off', measured: kept, required: KEPT_MIN, sense: 'at least' as const }],
        }),
      }
    })
  },
}
