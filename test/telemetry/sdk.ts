/** The real OpenTelemetry SDK, with spans kept in memory. */
import * as api from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  type SpanExporter,
} from '@opentelemetry/sdk-trace-base'

const KINDS = ['INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER']

/** A span in few words. */
export interface Told {
  readonly name: string
  readonly kind: string
  readonly traceId: string
  readonly spanId: string
  readonly parent: string | undefined
  readonly links: readonly string[]
  readonly attributes: Readonly<Record<string, unknown>>
  readonly failed: boolean
}

export class Sdk {
  readonly exporter: InMemorySpanExporter = new InMemorySpanExporter()

  /** Registered with the API that is given, as an application does it. */
  constructor(registeredWith: typeof api = api, exporter: SpanExporter = this.exporter) {
    const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
    registeredWith.trace.setGlobalTracerProvider(provider)
    registeredWith.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  }

  get spans(): Told[] {
    return this.exporter.getFinishedSpans().map(told)
  }

  named(name: string): Told[] {
    return this.spans.filter((span) => span.name === name)
  }

  unregister(from: typeof api = api): void {
    from.trace.disable()
    from.context.disable()
    from.metrics.disable()
  }
}

function told(span: ReadableSpan): Told {
  const { traceId, spanId } = span.spanContext()
  return {
    name: span.name,
    kind: KINDS[span.kind] ?? '',
    traceId,
    spanId,
    parent: span.parentSpanContext?.spanId,
    links: span.links.map(({ context }) => context.spanId),
    attributes: span.attributes,
    failed: span.status.code === 2,
  }
}
