/** The catalogue as Markdown and files: what a page shows, and that nothing from outside breaks it. */
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { catalogueOf } from '../../src/catalogue/catalogue.ts'
import { documentsOf } from '../../src/catalogue/documents.ts'
import { event, stream } from '../../src/index.ts'
import { factsOf, rule, shop } from './shop-facts.ts'

const files = documentsOf(catalogueOf(shop()), { title: 'The shop' })
const fileOf = (path: string): string => files.get(path) ?? expect.fail(`there is no ${path}`)

describe('the files', () => {
  test('are an index, a page for each event and channel, the schemas, and AsyncAPI', () => {
    expect([...files.keys()].sort()).toEqual([
      'README.md',
      'asyncapi.json',
      'channels/orders.md',
      'channels/restock.md',
      'events/order.paid.md',
      'events/order.placed.md',
      'events/stock.low.md',
      'schemas/order.paid.json',
      'schemas/order.placed.json',
    ])
    expect(JSON.parse(fileOf('schemas/order.placed.json'))).toMatchObject({ required: ['order', 'total', 'lines'] })
  })

  test('show who publishes and reads an event, its fields, and a masked example', () => {
    expect(fileOf('README.md')).toContain(
      '| [`order.placed`](events/order.placed.md) | [`orders`](channels/orders.md) | `/shop` | `billing`, `low` | known |',
    )
    const paid = fileOf('events/order.paid.md')
    expect(paid).toContain('| `card` | string | yes | sensitive |')
    expect(paid).toContain('Its sensitive fields are masked.')
    expect(fileOf('events/order.placed.md')).toContain('| `lines[].count` | integer | yes |  |')
    expect(fileOf('channels/orders.md')).toContain('| Key | `data.order` |')
  })

  test('have links that lead to files', () => {
    for (const [path, text] of files) {
      if (!path.endsWith('.md')) continue
      for (const [, target = ''] of text.matchAll(/\]\(([^)]+)\)/g))
        expect([path, [...files.keys()].includes(new URL(target, `x:/${path}`).pathname.slice(1))]).toEqual([
          path,
          true,
        ])
    }
  })

  test('have names of their own where upper and lower case are the same', () => {
    const types = ['a.b', 'A.b', 'a$b', 'a_b', 'constructor']
    const made = documentsOf(
      catalogueOf(factsOf([stream('s', { events: types.map((type) => event(type, z.string())) })])),
      { title: 't' },
    )
    const paths = [...made.keys()].map((path) => path.toLowerCase())
    expect(new Set(paths).size).toBe(paths.length)
    expect(paths.filter((path) => path.startsWith('events/'))).toHaveLength(types.length)
  })
})

test('text from events, schemas and rules cannot break a page', () => {
  const evil = '<script>alert(1)</script> | ![x](http://evil.example) `code`\n\n# Heading\u202e ```'
  const schema = z.object({ [evil]: z.string().meta({ description: evil }) })
  const { channels } = factsOf([stream('s', { events: [event('a', schema)] })])
  const pages = documentsOf(
    catalogueOf({
      channels,
      consumers: [],
      rules: [rule({ name: 'r', description: evil, on: 's', then: 'drop' })],
      seen: [
        {
          channel: 's',
          type: 'a',
          makers: [{ kind: 'source', name: evil, certain: true, lastMs: 0 }],
          example: { channel: 's', offset: 0, version: 1, masked: false, event: { type: 'a', data: evil } },
        },
      ],
      unread: [{ code: 'not-read', message: evil }],
    }),
    { title: evil },
  )
  for (const [path, text] of pages) {
    if (!path.endsWith('.md')) continue
    expect(text).not.toContain('\u202e')
    let inBlock = false
    for (const line of text.split('\n')) {
      if (line.startsWith('```')) inBlock = !inBlock
      if (inBlock) continue
      expect(line).not.toMatch(/^# Heading/)
      // Outside of code, every character of markup is escaped.
      const outside = line.replace(/`[^`]*`/g, '')
      expect(outside).not.toMatch(/(?<!\\)<script|(?<!\\)!\[|(?<!\\)\]\(http/)
    }
    expect(inBlock).toBe(false)
  }
})
