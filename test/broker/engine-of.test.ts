import { afterEach, expect, test } from 'vitest'
import type { Broker } from '../../src/broker/broker.ts'
import { checkBroker, coreOf, engineOf } from '../../src/broker/engine-of.ts'
import { createGateway } from '../../src/gateway/gateway.ts'
import { connect } from '../../src/index.ts'
import { rulesOf } from '../../src/rules/rules.ts'

let broker: Broker | undefined
afterEach(() => broker?.close())

test('the engine of a broker is reached without starting anything on it', async () => {
  broker = await connect('memory:')
  const engine = engineOf(broker)
  expect(engine.name).toBe('memory')
  expect(engineOf(broker)).toBe(engine)
  expect((await broker.describe()).consumers).toEqual([])
})

test('the engine of a closed broker is refused, and its core says that it is closed', async () => {
  broker = await connect('memory:')
  const core = coreOf(broker)
  expect(core.closed).toBe(false)
  const closing = broker.close()
  expect(core.closed).toBe(true)
  expect(() => engineOf(broker as Broker)).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  await closing
})

test('a broker that forwards to another one has its engine', async () => {
  const real = await connect('memory:')
  broker = real
  const wrapped = new Proxy(real, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  expect(engineOf(wrapped)).toBe(engineOf(real))
})

test('a broker of another copy of the package is refused with the reason, wherever its engine is needed', async () => {
  const real = await connect('memory:')
  broker = real
  const foreign = new Proxy(real, {
    get: (target, name) => (typeof name === 'symbol' ? undefined : Reflect.get(target, name)),
  })
  const refusal = expect.objectContaining({
    code: 'INVALID_OPTION',
    message: expect.stringContaining('another copy of millrace'),
  })
  expect(() => engineOf(foreign)).toThrow(refusal)
  expect(() => checkBroker(foreign, 'startRules')).toThrow(refusal)
  expect(() => rulesOf(foreign)).toThrow(refusal)
  expect(() => createGateway(foreign)).toThrow(refusal)
})
