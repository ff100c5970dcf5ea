/**
 * The server side of a NestJS transport over Millrace. Copy this file into your application.
 *
 * Each `@EventPattern('order.placed')` handles the events of that type, as handlers of one Millrace consumer: at least
 * once, in order by key, with retries and dead letters. Instances of the application share the events.
 *
 * `@MessagePattern` is refused: Millrace has no request and reply yet.
 */
import { Catch, type RpcExceptionFilter } from '@nestjs/common'
import { BaseRpcContext, type CustomTransportStrategy, type MessageHandler, Server } from '@nestjs/microservices'
import {
  type Broker,
  type Channel,
  type ConsumerOptions,
  consumer,
  type HandlerContext,
  type StoredEvent,
} from 'millrace'
import { lastValueFrom, type Observable, throwError } from 'rxjs'

export interface MillraceServerOptions {
  readonly broker: Broker
  /** The name of the consumer. Instances with one name share the events. */
  readonly consumer: string
  /** Channels with `events`: they say which types there are. */
  readonly channels: readonly Channel[]
  /** Concurrency, retries, time limits. */
  readonly options?: ConsumerOptions
}

/** What `@Ctx()` gives a handler: the whole event, and Millrace's context (`emit`, `reject`, `signal`, `log`). */
export class MillraceContext extends BaseRpcContext<[StoredEvent, HandlerContext]> {
  get event(): StoredEvent {
    return this.args[0]
  }

  get millrace(): HandlerContext {
    return this.args[1]
  }
}

export class MillraceServer extends Server implements CustomTransportStrategy {
  readonly #options: MillraceServerOptions
  #running: { stop(): Promise<unknown> } | null = null

  constructor(options: MillraceServerOptions) {
    super()
    this.#options = options
  }

  listen(ready: (error?: unknown) => void): void {
    this.#start().then(() => ready(), ready)
  }

  async #start(): Promise<void> {
    const { broker, consumer: name, channels, options } = this.#options
    const handling = consumer(name, [...channels], options)
    for (const [pattern, handler] of this.messageHandlers) {
      if (handler.isEventHandler !== true)
        throw new Error(`@MessagePattern('${pattern}'): Millrace has no request and reply yet, use @EventPattern`)
      const definition = channels.flatMap(({ events }) => events?.get(pattern) ?? [])[0]
      if (definition === undefined)
        throw new Error(`@EventPattern('${pattern}'): none of the channels of MillraceServer carries this type`)
      handling.on(definition, (event: StoredEvent, context) => this.#handle(handler, event, context))
    }
    this.#running = await broker.start(handling)
  }

  /** Rejects when the handler, a guard or a pipe fails: Millrace then tries the event again. */
  async #handle(handler: MessageHandler, event: StoredEvent, context: HandlerContext): Promise<void> {
    const result = await handler(event.data, new MillraceContext([event, context]))
    await lastValueFrom(this.transformToObservable(result), { defaultValue: undefined })
  }

  /** Takes no new events, and waits for the handlers that run. The broker stays open. */
  async close(): Promise<void> {
    await this.#running?.stop()
  }

  on(): never {
    throw new Error('MillraceServer has no events of its own: see the logger of connect() and broker.onAlarm')
  }

  unwrap<T>(): T {
    return this.#options.broker as T
  }
}

/**
 * Passes errors of handlers on as they are: `@UseFilters(MillraceErrors)` on the controller. Without it, NestJS
 * replaces each with "Internal server error", and a dead letter would not say what was wrong.
 */
@Catch()
export class MillraceErrors implements RpcExceptionFilter {
  catch(error: unknown): Observable<never> {
    return throwError(() => error)
  }
}
