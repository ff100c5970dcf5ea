/**
 * The types of what Millrace uses of OpenTelemetry's API. The application passes its own copy of `@opentelemetry/api`:
 * a copy of Millrace's would not see the SDK that the application registered.
 */

/** `SpanKind`. */
export const KIND = { client: 2, producer: 3, consumer: 4 } as const
/** `SpanStatusCode.ERROR`. */
export const STATUS_ERROR = 2

export type OtelAttributes = Record<string, string | number | boolean>

export interface OtelSpanContext {
  traceId: string
  spanId: string
  traceFlags: number
  isRemote?: boolean
  traceState?: OtelTraceState
}

/** Declared with the members of the API's own type, so that the two types are assignable to each other. */
export interface OtelTraceState {
  set(key: string, value: string): OtelTraceState
  unset(key: string): OtelTraceState
  get(key: string): string | undefined
  serialize(): string
}

export interface OtelSpan {
  spanContext(): OtelSpanContext
  setAttribute(key: string, value: string | number | boolean): unknown
  setStatus(status: { code: number; message?: string }): unknown
  end(): void
}

export interface OtelSpanOptions {
  kind: number
  attributes: OtelAttributes
  links: { context: OtelSpanContext }[]
}

/** The active context. Declared with the members of the API's own type. */
export interface OtelContext {
  getValue(key: symbol): unknown
  setValue(key: symbol, value: unknown): OtelContext
  deleteValue(key: symbol): OtelContext
}

export interface OtelTracer {
  startSpan(name: string, options: OtelSpanOptions, context: OtelContext): OtelSpan
}

export interface OtelObservableResult {
  observe(instrument: object, value: number, attributes?: OtelAttributes): void
}

export interface OtelMeter {
  createObservableCounter(name: string, options: { description: string; unit: string }): object
  createObservableGauge(name: string, options: { description: string; unit: string }): object
  addBatchObservableCallback(
    callback: (result: OtelObservableResult) => void | Promise<void>,
    instruments: object[],
  ): void
  removeBatchObservableCallback(
    callback: (result: OtelObservableResult) => void | Promise<void>,
    instruments: object[],
  ): void
}

/** The result of `import * as api from '@opentelemetry/api'`, version 1.3 or later. */
export interface OtelApi {
  readonly trace: {
    getTracer(name: string, version?: string): OtelTracer
    getSpan(context: OtelContext): OtelSpan | undefined
    setSpan(context: OtelContext, span: OtelSpan): OtelContext
    setSpanContext(context: OtelContext, spanContext: OtelSpanContext): OtelContext
  }
  readonly context: {
    active(): OtelContext
    with<Result>(context: OtelContext, handle: () => Result): Result
  }
  readonly metrics: { getMeter(name: string, version?: string): OtelMeter }
  readonly ROOT_CONTEXT: OtelContext
  createTraceState(text?: string): OtelTraceState
}
