import { describe, expect, it } from 'vitest'
import type { EncodedEvent } from '../../src/broker/encoded-event.ts'
import { KeyStates } from '../../src/delivery/dispatch/key-states.ts'

const stateOf = (key: string, text: string): EncodedEvent & { readonly key: string } => ({
  id: text,
  type: 't',
  key,
  text,
})

/** A store that answers when it is told to. */
class SlowStore {
  readonly asked: string[] = []
  readonly #answers: ((event: EncodedEvent | null) => void)[] = []

  read(_: string, key: string): Promise<EncodedEvent | null> {
    this.asked.push(key)
    return new Promise((resolve) => this.#answers.push(resolve))
  }

  answer(event: EncodedEvent | null): void {
    this.#answers.shift()?.(event)
  }
}

describe('the states of keys in memory', () => {
  it('share one read of a cold key, and keep what it brings', async () => {
    const store = new SlowStore()
    const states = new KeyStates(store)
    const both = [states.get('c', 'a'), states.get('c', 'a')]
    store.answer(stateOf('a', 'stored'))
    for (const each of both) expect((await each)?.text).toBe('stored')
    expect((states.get('c', 'a') as EncodedEvent).text).toBe('stored')
    expect(store.asked).toEqual(['a'])
  })

  it('keep what was set while an older state was being read', async () => {
    const store = new SlowStore()
    const states = new KeyStates(store)
    const lost = states.get('c', 'a')
    states.set('c', stateOf('a', 'new'), () => true)
    store.answer(stateOf('a', 'old'))
    await lost
    expect((states.get('c', 'a') as EncodedEvent).text).toBe('new')
  })

  it('keep that a key has no state', async () => {
    const store = new SlowStore()
    const states = new KeyStates(store)
    const read = states.get('c', 'a')
    store.answer(null)
    expect(await read).toBeNull()
    expect(states.get('c', 'a')).toBeNull()
  })

  it('read again after a failed read', async () => {
    let fails = true
    const read = async (): Promise<EncodedEvent | null> => {
      if (!fails) return stateOf('a', 'stored')
      fails = false
      throw new Error('no connection')
    }
    const states = new KeyStates({ read })
    await expect(states.get('c', 'a')).rejects.toThrow('no connection')
    expect((await states.get('c', 'a'))?.text).toBe('stored')
  })

  it('drop the durable states that were used longest ago, and never one that is not durable', async () => {
    const store = new SlowStore()
    const states = new KeyStates(store, 3000)
    let durable = false
    states.set('c', stateOf('first', 'x'), () => durable)
    for (let at = 0; at < 100; at++) states.set('c', stateOf(`k${at}`, 'x'.repeat(100)), () => true)
    expect((states.get('c', 'first') as EncodedEvent).text).toBe('x')
    expect((states.get('c', 'k99') as EncodedEvent).key).toBe('k99')
    expect(states.get('c', 'k0')).toBeInstanceOf(Promise)
    durable = true
    for (let at = 100; at < 200; at++) states.set('c', stateOf(`k${at}`, 'x'.repeat(100)), () => true)
    expect(states.get('c', 'first')).toBeInstanceOf(Promise)
  })

  it('forget one consumer', async () => {
    const store = new SlowStore()
    const states = new KeyStates(store)
    states.set('c', stateOf('a', 'x'), () => true)
    states.set('cc', stateOf('a', 'y'), () => true)
    states.forget('c')
    expect(states.get('c', 'a')).toBeInstanceOf(Promise)
    expect((states.get('cc', 'a') as EncodedEvent).text).toBe('y')
  })
})
