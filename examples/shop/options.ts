/** The command line of the shop. */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'

export interface ShopOptions {
  /** The URL for `connect`. */
  readonly brokerUrl: string
  readonly port: number
  readonly outbox: string
  /** The folder of rules; `null` means no rules. */
  readonly rules: string | null
  /** The time between two recorded webhooks; `null` means no webhooks. */
  readonly githubPaceMs: number | null
}

export const USAGE = `Usage: npm start -- [options]

  --data <folder>        where events are kept        (SHOP_DATA,   ./data)
  --port <number>        the one port                 (PORT,        8080)
  --outbox <folder>      where "sent" mail goes       (SHOP_OUTBOX, ./outbox)
  --rules <folder>       rules, watched for edits     (SHOP_RULES,  examples/shop/rules; "off" for none)
  --github-pace <ms>     between recorded webhooks    (GITHUB_PACE, 500; "off" for none)
  --help

BROKER_URL, such as memory:, takes the place of --data.
`

/** The options, or `null` if help was requested. Throws if they are invalid. */
export function shopOptions(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): ShopOptions | null {
  const { values } = parseArgs({
    args: [...args],
    options: {
      data: { type: 'string' },
      port: { type: 'string' },
      outbox: { type: 'string' },
      rules: { type: 'string' },
      'github-pace': { type: 'string' },
      help: { type: 'boolean' },
    },
  })
  if (values.help === true) return null
  const pace = values['github-pace'] ?? env['GITHUB_PACE'] ?? '500'
  const rules =
    values.rules ??
    env['SHOP_RULES'] ??
    join(dirname(createRequire(import.meta.url).resolve('millrace/package.json')), 'examples/shop/rules')
  const data = values.data ?? env['SHOP_DATA']
  return {
    brokerUrl: data === undefined ? (env['BROKER_URL'] ?? 'file:./data') : `file:${data}`,
    port: whole('port', values.port ?? env['PORT'] ?? '8080', 65_535),
    rules: rules === 'off' ? null : rules,
    outbox: values.outbox ?? env['SHOP_OUTBOX'] ?? './outbox',
    githubPaceMs: pace === 'off' ? null : whole('github-pace', pace, 3_600_000),
  }
}

function whole(name: string, text: string, max: number): number {
  if (/^\d+$/.test(text) && Number(text) <= max) return Number(text)
  throw new Error(`--${name} must be a whole number from 0 to ${max}; it is "${text}"`)
}
