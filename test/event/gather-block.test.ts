/**
 * Events in other blocks are gathered by their bytes: the block is the same as encoding them again, except for the
 * order of its types.
 */
import { expect, it } from 'vitest'
import { type BlockEvent, decodeBlock, encodeBlock } from '../../src/event/block.ts'
import { type EventInBlock, eventsIn, gatherBlock, textSize } from '../../src/event/event-in-block.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'

type Below = (limit: number) => number

const TEXTS = ['{}', '{"a":"ä"}', `{"long":"${'x'.repeat(400)}"}`, '{"smile":"😀"}', '{"n":1}']
const KEYS = [null, 'k', 'schlüssel', 'k'.repeat(300)]

function someEvents(below: Below, ascii: boolean): BlockEvent[] {
  return Array.from({ length: 1 + below(20) }, (_, index) => ({
    id: ascii ? `id-${index}` : `ïd-${index}-${below(1000)}`,
    type: `type.${below(4)}`,
    key: ascii ? 'key' : (KEYS[below(KEYS.length)] as string | null),
    text: ascii ? '{"plain":true}' : (TEXTS[below(TEXTS.length)] as string),
  }))
}

const plain = ({ id, type, key, text }: BlockEvent): BlockEvent => ({ id, type, key, text })

it('what is gathered from blocks is what was in them, for any choice and order of places', () => {
  for (let seed = 0; seed < 300; seed++) {
    const random = seededRandom(seed)
    const below: Below = (limit) => Math.floor(random() * limit)
    const blocks = Array.from({ length: 1 + below(4) }, () =>
      decodeBlock(0, encodeBlock(0, 0, 0, someEvents(below, below(2) === 0)).bytes),
    )
    const chosen: EventInBlock[] = []
    for (const block of blocks) {
      const all = eventsIn(block)
      const kind = below(3)
      if (kind === 0) chosen.push(...all)
      else if (kind === 1) chosen.push(...all.filter(() => below(2) === 0))
      else chosen.push(...all.reverse())
    }
    if (chosen.length === 0) continue
    const gathered = decodeBlock(7, gatherBlock(7, 42, 1_000, chosen).bytes)
    expect([gathered.firstOffset, gathered.timeMs, gathered.count], `seed ${seed}`).toEqual([42, 1_000, chosen.length])
    expect(eventsIn(gathered).map(plain), `seed ${seed}`).toEqual(chosen.map((event) => plain(event.own())))
    // The texts form a JSON array, as the block's layout says.
    const texts = gathered.bytes.toString('utf8', gathered.columns.textsAt)
    expect(JSON.parse(texts)).toEqual(chosen.map(({ text }) => JSON.parse(text) as unknown))
  }
})

it('a place says how long its text is without reading it', () => {
  const [event] = eventsIn(
    decodeBlock(0, encodeBlock(0, 0, 0, [{ id: 'a', type: 't', key: null, text: '{"ä":1}' }]).bytes),
  ) as [EventInBlock]
  expect(event.bytes).toBe(Buffer.byteLength('{"ä":1}'))
  expect(textSize(event)).toBe(event.bytes)
  expect(textSize({ id: 'a', type: 't', key: null, text: '{}' })).toBe(2)
})
