/** Names of channels, consumers and event types: the characters that every engine can carry, and the wildcard form. */
import { MillraceError } from './errors.ts'
import { LIMITS } from './limits.ts'
import { shown } from './shown.ts'

const NAME = /^[A-Za-z0-9_$][A-Za-z0-9_$-]*(?:\.[A-Za-z0-9_$][A-Za-z0-9_$-]*)*$/
const WILDCARD = /^(?:\*|[A-Za-z0-9_$][A-Za-z0-9_$-]*)(?:\.(?:\*|[A-Za-z0-9_$][A-Za-z0-9_$-]*))*(?:\.>)?$|^>$/

/**
 * The name, if it is one.
 * @throws INVALID_NAME when it is empty, too long, or has characters besides letters, digits, `_`, `$`, `-` and single
 * dots between words.
 */
export function checkName(name: unknown, of: 'channel' | 'consumer' | 'event type' | 'schedule'): string {
  if (isName(name)) return name
  throw new MillraceError(
    'INVALID_NAME',
    `${shown(name)} cannot be the name of ${of === 'event type' ? 'an' : 'a'} ${of}: use words of letters, digits, "_", "$" and "-", joined by single dots, at most ${LIMITS.nameCharsMax} characters`,
    { name: shown(name), of },
  )
}

/** Whether this can be the name of a channel, a consumer or an event type. */
export function isName(name: unknown): name is string {
  return typeof name === 'string' && name.length <= LIMITS.nameCharsMax && NAME.test(name)
}

/**
 * The name of a channel or consumer that is given by its name, or as an object that has one.
 * @throws INVALID_OPTION when it is neither · INVALID_NAME when no channel or consumer can have that name
 */
export function nameOf(given: unknown, of: 'channel' | 'consumer'): string {
  if (typeof given === 'string') return checkName(given, of)
  const name: unknown =
    typeof given === 'object' && given !== null ? (given as { readonly name?: unknown }).name : undefined
  if (typeof name === 'string') return checkName(name, of)
  throw new MillraceError('INVALID_OPTION', `a ${of} is named by text, or given as a ${of}; this is ${shown(given)}`, {
    option: of,
    value: shown(given),
  })
}

/** Whether the text is a wildcard (`orders.*`, `orders.>`, `*.created`) rather than a name. */
export function isWildcard(text: string): boolean {
  return text.includes('*') || text.includes('>')
}

/** Whether a text that holds `*` or `>` is a wildcard that can be compiled. */
export function isWildcardForm(text: string): boolean {
  return text.length <= LIMITS.nameCharsMax && WILDCARD.test(text)
}

/**
 * A test for channel names: `*` stands for one word, a final `>` for one or more (NATS's form). Names that begin with
 * `$` are Millrace's own (rules, audit, subscriptions with their secrets); a wildcard matches one only if it begins
 * with that word.
 * @throws INVALID_NAME when the wildcard is malformed.
 */
export function compileWildcard(wildcard: string): (name: string) => boolean {
  if (!isWildcardForm(wildcard)) {
    throw new MillraceError(
      'INVALID_NAME',
      `"${wildcard.slice(0, 60)}" is not a channel wildcard: use whole words, "*" for one word and a final ">" for the rest, as in "orders.*"`,
      { name: wildcard, of: 'channel wildcard' },
    )
  }
  const words = wildcard
    .split('.')
    .map((word) => (word === '*' ? '[^.]+' : word === '>' ? '.+' : word.replace(/[$]/g, '\\$&')))
  const ours = wildcard.startsWith('*') || wildcard.startsWith('>') ? '(?!\\$)' : ''
  const form = new RegExp(`^${ours}${words.join('\\.')}$`)
  return (name) => form.test(name)
}

/** The channel in which a consumer keeps its state: an event for each key. */
export function stateChannelOf(consumer: string): string {
  return `$state.${consumer}`
}

/** Whether the channel holds the state of a consumer. Only that consumer's completions write it. */
export function isStateChannel(channel: string): boolean {
  return channel.startsWith('$state.')
}

/** Whether the channel is one of Millrace's own, as `$rules` and `$audit` are. */
export function isOwnChannel(channel: string): boolean {
  return channel.startsWith('$')
}

/** The channel that configures consumers of Millrace's own. */
type Owner = '$rules' | '$push' | '$redrives' | '$schedules'

/** The consumer that runs redrives of dead letters. */
export const REDRIVE_RUNNER = '$redrives.runner'

/**
 * The first words of the names of Millrace's own consumers (`rules.orders`, `rule.large.http`, `push.billing`), and the
 * channel that configures them.
 */
const OWN_CONSUMERS: ReadonlyMap<string, Owner> = new Map([
  ['rules', '$rules'],
  ['rule', '$rules'],
  ['push', '$push'],
  ['$redrives', '$redrives'],
  ['$schedules', '$schedules'],
])

const OWN_WORK: Readonly<Record<Owner, string>> = {
  $rules: 'rules',
  $push: 'a push subscription',
  $redrives: 'the redrives of the gateway',
  $schedules: 'schedules',
}

/** The channel that configures this consumer of Millrace's own; null for all others. */
export function ownerOf(consumer: string): Owner | null {
  const dot = consumer.indexOf('.')
  return dot < 0 ? null : (OWN_CONSUMERS.get(consumer.slice(0, dot)) ?? null)
}

export function reservedName(consumer: string): MillraceError {
  const owner = ownerOf(consumer) ?? '$rules'
  const what = OWN_WORK[owner]
  const verb = owner === '$redrives' || owner === '$schedules' ? 'stop' : 'remove'
  return new MillraceError(
    'INVALID_NAME',
    `consumer "${consumer}" is Millrace's own, it runs ${what}: names that begin with "rules.", "rule.", "push.", "$redrives." and "$schedules." are reserved. Choose another name; to stop that consumer, ${verb} ${what}`,
    { name: consumer, of: 'consumer' },
  )
}

/** The name, if an application or a client may use it for a consumer. @throws INVALID_NAME */
export function checkConsumerName(name: unknown): string {
  const consumer = checkName(name, 'consumer')
  if (ownerOf(consumer) !== null) throw reservedName(consumer)
  return consumer
}
