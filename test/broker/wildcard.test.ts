import { expect, test } from 'vitest'
import { compileWildcard } from '../../src/base/names.ts'

test.each<[string, readonly string[], readonly string[]]>([
  ['orders.*', ['orders.eu'], ['orders', 'orders.eu.north', 'xorders.eu']],
  ['orders.>', ['orders.eu', 'orders.eu.north'], ['orders']],
  ['*.eu', ['orders.eu'], ['$audit.eu', 'eu']],
  ['*', ['orders'], ['$audit', '$push', 'orders.eu']],
  ['>', ['orders', 'orders.eu', 'a.$b'], ['$audit', '$rules', '$rule.x.http', '$push']],
  ['$rule.>', ['$rule.x.http'], ['$rules', 'rule.x']],
  ['$rule.*.http', ['$rule.x.http'], ['$rule.x.emit']],
])('%s', (wildcard, takes, leaves) => {
  const matches = compileWildcard(wildcard)
  expect([...takes, ...leaves].filter(matches)).toEqual(takes)
})
