import { type } from 'arktype'
import { connect, event, isMillraceError, stream } from 'millrace'
import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'

const SCHEMAS = {
  zod: event('stock.low', z.object({ sku: z.string(), left: z.number() })),
  valibot: event('stock.low', v.object({ sku: v.string(), left: v.number() })),
  arktype: event('stock.low', type({ sku: 'string', left: 'number' })),
}

describe.each(Object.entries(SCHEMAS))('an event with a schema of %s', (_library, LowStock) => {
  it('is published when it satisfies it, and else refused with the issues of the library', async () => {
    const broker = await connect('memory:')
    const stock = stream('stock', { events: [LowStock] })
    await broker.publish(stock, LowStock({ sku: 'tea', left: 2 }))
    const error: unknown = await broker
      .publish(stock, LowStock({ sku: 'tea', left: 'few' } as never))
      .catch((reason: unknown) => reason)
    if (!isMillraceError(error, 'SCHEMA_MISMATCH')) expect.fail(String(error))
    const issues = error.details['issues'] as readonly { readonly message: string }[]
    expect(issues.map((issue) => issue.message)).toEqual([expect.stringMatching(/number/)])
    const read: unknown[] = []
    for await (const each of broker.read(stock)) read.push(each.data)
    expect(read).toEqual([{ sku: 'tea', left: 2 }])
    await broker.close()
  })
})
