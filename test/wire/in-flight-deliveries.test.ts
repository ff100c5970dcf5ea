/** Deliveries by number, compared with a plain map, in any order of settlement. */
import { expect, it } from 'vitest'
import type { Delivery } from '../../src/broker/engine.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'
import { InFlightDeliveries } from '../../src/wire/server/in-flight-deliveries.ts'

const delivery = (offset: number): Delivery => ({ offset }) as Delivery

it('each delivery is found by its number, once, also one that stays in flight for long', () => {
  for (let seed = 0; seed < 8; seed++) {
    const random = seededRandom(seed)
    const stays = random() * 0.02
    const inFlight = new InFlightDeliveries()
    const model = new Map<number, Delivery>()
    let order: number[] = []
    for (let offset = 0; offset < 20_000; offset++) {
      const each = delivery(offset)
      const number = inFlight.add(each)
      if (number !== offset) expect.fail(`number ${number} for delivery ${offset}`)
      model.set(number, each)
      if (random() >= stays) order.push(number)
      if (random() < 0.02) {
        for (const settled of order.splice(0)) {
          if (inFlight.take(settled) !== model.get(settled)) expect.fail(`${settled} is another, with seed ${seed}`)
          model.delete(settled)
        }
        order = []
      }
      if (random() < 0.001) expect(inFlight.take(Math.floor(random() * 40_000) + offset + 1)).toBeUndefined()
      if (inFlight.size !== model.size)
        expect.fail(`${inFlight.size} in flight, and not ${model.size}, with seed ${seed}`)
    }
    for (const [number, each] of model) {
      expect(inFlight.take(number)).toBe(each)
      expect(inFlight.take(number)).toBeUndefined()
    }
    expect(inFlight.size).toBe(0)
  }
})
