/** The offsets that stored events of rules contain, and their replacement. */
import { describe, expect, test } from 'vitest'
import type { EncodedEvent } from '../../src/broker/encoded-event.ts'
import {
  containedOffsets,
  containsOwnOffset,
  type NewOffsets,
  offsetRank,
  withNewOffsets,
} from '../../src/rules/stored-offsets.ts'

const event = (type: string, text: string): EncodedEvent => ({ id: '1', type, key: null, text })

/**
 * Adds 100 to offsets of events, 1000 to start offsets and 10 to offsets of changes, for all channels but "elsewhere".
 */
const added: NewOffsets = {
  exact: (channel, offset) => (channel === 'elsewhere' ? undefined : offset + 100),
  start: (channel, offset) => (channel === 'elsewhere' ? undefined : offset + 1000),
  change: (offset) => (offset === 0 ? undefined : offset + 10),
}

describe('a firing', () => {
  const queue = '$rule.large.http'
  const firing = (attributes: string): EncodedEvent =>
    event('t', `{"data":{"ruleoffset":"7","ruleversion":"3","n":1.0},${attributes},"id":"1","type":"t"}`)

  test('contains the offset of its event', () => {
    const attributes = '"rulechannel":"carts","ruleoffset":"7","ruleversion":"3"'
    expect(containedOffsets(queue, firing(attributes))).toEqual([{ channel: 'carts', offset: 7, exact: true }])
    expect(containsOwnOffset(queue, firing(attributes))).toBe(false)
  })
  test('gets new attributes, and its data keeps the same text, also if the data has members of those names', () => {
    expect(withNewOffsets(queue, firing('"rulechannel":"carts","ruleoffset":"7","ruleversion":"3"'), added)).toEqual(
      firing('"rulechannel":"carts","ruleoffset":"107","ruleversion":"13"'),
    )
  })
  test('keeps the offsets for which there is no new one, and the text around them', () => {
    expect(
      withNewOffsets(queue, firing('"rulechannel":"elsewhere","ruleoffset" : "7","ruleversion":"3"'), added),
    ).toEqual(firing('"rulechannel":"elsewhere","ruleoffset" : "7","ruleversion":"13"'))
    expect(withNewOffsets(queue, firing('"ruleoffset":"x"'), added)).toEqual(firing('"ruleoffset":"x"'))
    expect(containedOffsets(queue, firing('"ruleoffset":"x"'))).toEqual([])
  })
})

describe('a change that becomes effective', () => {
  const effective = (data: string): EncodedEvent =>
    event('rules.effective', `{"subject":${JSON.stringify(data)},"type":"rules.effective","data":${data}}`)

  test('contains the start offset of each channel, and the offset of an earlier change', () => {
    const change = effective('{"through":4,"offsets":{"carts":2,"elsewhere":5}}')
    expect(containedOffsets('$rules', change)).toEqual([
      { channel: 'carts', offset: 2, exact: false },
      { channel: 'elsewhere', offset: 5, exact: false },
    ])
    expect(containsOwnOffset('$rules', change)).toBe(true)
  })
  test('gets new start offsets, without the channels that have none', () => {
    const { text } = withNewOffsets('$rules', effective('{"through":4,"offsets":{"carts":2,"elsewhere":5}}'), added)
    expect((JSON.parse(text) as { data: unknown }).data).toEqual({ through: 14, offsets: { carts: 1002 } })
  })
})

test('other events contain no offsets and are not changed', () => {
  const other = event(
    'rules.effective',
    '{"ruleoffset":"7","rulechannel":"carts","data":{"through":1,"offsets":{"a":1}}}',
  )
  for (const channel of ['carts', '$rulesets', '$audit']) {
    expect(containedOffsets(channel, other)).toEqual([])
    expect(withNewOffsets(channel, other, added)).toBe(other)
  }
  const definition = event('rule.added', '{"data":{"name":"r"}}')
  expect(withNewOffsets('$rules', definition, added)).toBe(definition)
})

test('channels come after those whose offsets their events contain', () => {
  const sorted = ['$rule.a.http', '$rules', 'carts', '$rule.b.call', '$audit'].sort(
    (one, other) => offsetRank(one) - offsetRank(other),
  )
  expect(sorted).toEqual(['carts', '$audit', '$rules', '$rule.a.http', '$rule.b.call'])
})
