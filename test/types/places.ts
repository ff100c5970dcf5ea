/** Places and moments: which forms compile, and which do not. */
import { type Broker, connect, consumer, type Emit, type From, stream } from 'millrace'

const orders = stream('orders')
declare const broker: Broker
declare const emit: Emit

export const right: readonly From[] = [
  'beginning',
  'end',
  { offset: 7 },
  new Date(),
  '2026-01-31T12:00:00Z',
  '2026-01-31T12:00:00.5+01:00',
  '30d',
  '1.5h',
]
consumer('k', orders, { from: { offset: 0 } })
void broker.consumer('k').rewind({ offset: 7 })
void broker.consumer('k').rewind('2026-01-31T12:00:00Z')
void broker.read(orders, { from: '1h', to: new Date() })
void broker.publish(orders, { type: 'x' }, { at: new Date() })
void broker.publish(orders, { type: 'x' }, { at: '2026-01-31T12:00:00Z' })
void emit(orders, { type: 'x' }, { at: '2026-01-31T12:00:00Z' })

// @ts-expect-error a number is an offset or milliseconds: it does not say which
consumer('k', orders, { from: 0 })
// @ts-expect-error
void broker.consumer('k').rewind(7)
// @ts-expect-error
void broker.consumer('k').rewind({ timeMs: 7 })
// @ts-expect-error an offset is a number
void broker.consumer('k').rewind({ offset: '7' })
// @ts-expect-error
void broker.consumer('k').rewind('yesterday')
// @ts-expect-error
void broker.consumer('k').rewind('30 days')
// @ts-expect-error
void broker.read(orders, { from: Date.now() })
// @ts-expect-error
void broker.read(orders, { to: 12 })
// @ts-expect-error
void broker.tail(orders, { from: 12 })
void broker.publish(orders, { type: 'x' }, { at: Date.now() })
// @ts-expect-error
void broker.publish(orders, { type: 'x' }, { at: '1h' })

/** What a program ends by itself at the end of a block. */
export async function disposed(): Promise<void> {
  await using opened = await connect('memory:')
  await using running = await opened.start(consumer('k', orders).onAny(() => undefined))
  running satisfies AsyncDisposable
}
