/**
 * End to end without telemetry, with metrics only, with one of a hundred chains of events traced, and with all traced.
 * It uses the real OpenTelemetry SDK, with a batch processor whose exporter drops the spans.
 *
 * "Off, SDK in use" is an application that uses OpenTelemetry for other things. On Node 20 the context manager of the
 * SDK makes each promise of a process more expensive, from the first export or the first traced request on.
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

interface Load {
  readonly load: string
  /** Whether the application has registered an SDK and uses it. */
  readonly sdk: boolean
  /** The part of the chains that is traced; null for no telemetry. */
  readonly sample: number | null
}

const OFF = 'off'
const OFF_IN_USE = 'off, SDK in use'
const LOADS: readonly Load[] = [
  { load: OFF, sdk: false, sample: null },
  { load: OFF_IN_USE, sdk: true, sample: null },
  { load: 'metrics only', sdk: false, sample: 0 },
  { load: '1 % traced', sdk: true, sample: 0.01 },
  { load: '100 % traced', sdk: true, sample: 1 },
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
  // As the first export does, or the first traced request.
  api.context.with(api.ROOT_CONTEXT, () => undefined)
}

async function measure(_: OpenSystem, setting: Setting, params: Params): Promise<Figures> {
  const { sample, sdk } = params
  if (sdk === 1) registerSdk()
  const telemetry = sample === undefined ? undefined : openTelemetry(api, { sample })
  const open = ({ directory, concurrency }: Setting): Promise<MillraceSystem> =>
    MillraceSystem.at(`file:${directory}`, concurrency, telemetry)
  return measureEndToEnd(open, setting, params)
}

export const telemetry: Case = {
  name: 'telemetry',
  title: 'Telemetry, end to end, 1,000 publishes in flight',
  measure,
  async run(bench) {
    const params = loadOf(bench, MILLRACE, 1000)
    const measured = new Map(LOADS.map(({ load }) => [load, [] as Figures[]]))
    for (let round = 0; round < bench.rounds; round++)
      for (const { load, sdk, sample } of LOADS)
        measured.get(load)?.push(
          await bench.measure('telemetry', MILLRACE, {
            ...params,
            sdk: Number(sdk),
            ...(sample !== null && { sample }),
          }),
        )
    const all = (load: string, figure: string): number[] =>
      (measured.get(load) ?? []).map((figures) => figures[figure] ?? Number.NaN)
    const rate = (load: string): number => median(all(load, 'rate'))
    return LOADS.map(
      ({ load, sample }): Row => ({
        load,
        subject: MILLRACE,
        value: rate(load),
        unit: 'events/s',
        rounds: all(load, 'rate'),
        note: `${median(all(load, 'cpuUs')).toFixed(1)} µs of processor each`,
        ...(sample === 0.01 && {
          checks: [
            {
              of: 'of off, SDK in use',
              measured: rate(load) / rate(OFF_IN_USE),
              required: KEPT_MIN,
              sense: 'at least',
            },
          ],
        }),
      }),
    )
  },
}
