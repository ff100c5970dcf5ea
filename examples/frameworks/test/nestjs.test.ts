/** The NestJS transport beyond the example: what it refuses, and what becomes of errors. */
import 'reflect-metadata'
import { Controller, type INestMicroservice, UseFilters } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { Ctx, EventPattern, MessagePattern, Payload } from '@nestjs/microservices'
import { type Broker, connect } from 'millrace'
import { firstValueFrom, from, lastValueFrom, mergeMap, of, throwError } from 'rxjs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { MillraceClient, MillraceRecord } from '../src/nestjs/millrace-client.ts'
import { type MillraceContext, MillraceErrors, MillraceServer } from '../src/nestjs/millrace-server.ts'
import { mails, OrderPlaced, orders } from '../src/orders.ts'

type Order = { readonly order: string; readonly email: string; readonly cents: number }
const order = (name: string): Order => ({ order: name, email: `${name}@shop.example`, cents: 1 })
const seen: string[] = []

@Controller()
@UseFilters(MillraceErrors)
class Failing {
  @EventPattern(OrderPlaced.type)
  async handle(@Payload() { order }: Order, @Ctx() context: MillraceContext) {
    seen.push(`${order} ${context.millrace.attempt} ${context.event.id}`)
    if (order === 'throws') throw new Error('the printer is on fire')
    if (order === 'later') return of(1).pipe(mergeMap(() => throwError(() => new Error('in the stream'))))
    return from([1, 2, 3])
  }
}

@Controller()
class Bare {
  @EventPattern(OrderPlaced.type)
  fail() {
    throw new Error('the printer is on fire')
  }
}

@Controller()
class Asking {
  @MessagePattern('order.price')
  price() {
    return 1
  }
}

@Controller()
class Unknown {
  @EventPattern('order.unknown')
  handle() {}
}

let broker: Broker
let service: INestMicroservice | undefined
beforeEach(async () => {
  broker = await connect('memory:', { logger: false })
  seen.length = 0
})
afterEach(async () => {
  await service?.close()
  service = undefined
  await broker.close()
})

async function listening(controller: new () => object): Promise<void> {
  class AppModule {}
  const module = { module: AppModule, controllers: [controller] }
  const options = { retry: { attempts: 2, backoff: 'fixed', min: '1ms', max: '1ms' } } as const
  const strategy = new MillraceServer({ broker, consumer: 'printer', channels: [orders], options })
  const made = await NestFactory.createMicroservice(module, { strategy, logger: false })
  await made.listen()
  service = made
}
const client = (): MillraceClient => new MillraceClient(broker, [orders, mails])
const deadLetters = async (): Promise<string[]> =>
  (await broker.deadLetters('printer').list()).map(({ id, failure }) => `${id}: ${failure.message}`)

test('an error is retried, and the dead letter says what was wrong', async () => {
  await listening(Failing)
  for (const name of ['well', 'throws', 'later'])
    await firstValueFrom(client().emit(OrderPlaced.type, new MillraceRecord(order(name), { id: `id-${name}` })))
  await expect
    .poll(async () => (await deadLetters()).sort())
    .toEqual(['id-later: in the stream', 'id-throws: the printer is on fire'])
  expect(seen.sort()).toEqual([
    'later 1 id-later',
    'later 2 id-later',
    'throws 1 id-throws',
    'throws 2 id-throws',
    'well 1 id-well',
  ])
})

test('without the filter, NestJS hides the error, and it is still retried', async () => {
  await listening(Bare)
  await firstValueFrom(client().emit(OrderPlaced.type, new MillraceRecord(order('a'), { id: 'a' })))
  await expect.poll(deadLetters).toEqual([expect.stringContaining('Internal server error')])
})

test('patterns that cannot work are refused at start', async () => {
  await expect(listening(Asking)).rejects.toThrow(
    "@MessagePattern('order.price'): Millrace has no request and reply yet",
  )
  await expect(listening(Unknown)).rejects.toThrow("@EventPattern('order.unknown'): none of the channels")
})

test('the client publishes also if nobody subscribes, and says why it cannot', async () => {
  client().emit(OrderPlaced.type, order('a'))
  await expect
    .poll(
      async () =>
        (
          await broker
            .channel(orders)
            .bounds()
            .catch(() => null)
        )?.next,
    )
    .toBe(1)
  const receipt = await firstValueFrom(client().emit(OrderPlaced.type, order('b')))
  expect(receipt).toMatchObject({ channel: 'orders', offset: 1, duplicate: false })
  await expect(firstValueFrom(client().emit(OrderPlaced.type, { ...order('c'), email: 'no' }))).rejects.toMatchObject({
    code: 'SCHEMA_MISMATCH',
  })
  await expect(firstValueFrom(client().emit('order.unknown', {}))).rejects.toThrow('none of the channels')
  await expect(lastValueFrom(client().send('order.price', {}))).rejects.toThrow('no request and reply yet')
})

test('closing waits for the handlers that run', async () => {
  let release = (): void => undefined
  const gate = new Promise<void>((resolve) => {
    release = resolve
  })
  @Controller()
  class Slow {
    @EventPattern(OrderPlaced.type)
    async handle(@Payload() data: Order) {
      seen.push(`${data.order} begins`)
      await gate
      seen.push(`${data.order} ends`)
    }
  }
  await listening(Slow)
  await firstValueFrom(client().emit(OrderPlaced.type, order('a')))
  await expect.poll(() => seen).toEqual(['a begins'])
  const closed = service?.close().then(() => seen.push('closed'))
  setTimeout(release, 50)
  await closed
  expect(seen).toEqual(['a begins', 'a ends', 'closed'])
})
