/** `millrace why`: why an event was not handled, a consumer does not move, publishing is slow, a rule did not act. */
import { MillraceError } from '../base/errors.ts'
import { engineOf } from '../broker/engine-of.ts'
import type { Reason } from '../why/reason.ts'
import { whyConsumer } from '../why/why-consumer.ts'
import { whyDelivery } from '../why/why-delivery.ts'
import { whyPublish } from '../why/why-publish.ts'
import { whyRule } from '../why/why-rule.ts'
import { colour, complete, print, printJson } from './output.ts'
import { changing, countOf, type TargetOptions } from './target.ts'

export interface WhyEventOptions extends TargetOptions {
  readonly offset?: string
  readonly id?: string
  readonly consumer?: string
}

/** Without a consumer: for each consumer of the channel. */
export async function whyEventCommand(channel: string, options: WhyEventOptions): Promise<void> {
  const asked = eventOf(options)
  const { consumer } = options
  const answers = await changing(options, async (broker) => {
    const engine = engineOf(broker)
    if (consumer !== undefined) return [await whyDelivery(engine, consumer, channel, asked)]
    const { consumers } = await engine.describe()
    const names = consumers.flatMap((each) => (each.channels.some((one) => one.channel === channel) ? each.name : []))
    const found = []
    for (const name of names) found.push(await whyDelivery(engine, name, channel, asked))
    return found
  })
  if (options.json === true) return printJson(answers)
  for (const { consumer: name, standing, reasons, notKnown } of answers) tell(`${name}: ${standing}`, reasons, notKnown)
  if (answers.length === 0) print(`no consumer has begun in "${channel}"`)
  complete(`${answers.length} consumer(s)`, options)
}

export async function whyConsumerCommand(consumer: string, options: TargetOptions): Promise<void> {
  const why = await changing(options, (broker) => whyConsumer(engineOf(broker), consumer))
  if (options.json === true) return printJson(why)
  tell(`${consumer}: ${why.hasWork ? 'has work' : 'has no work'}`, why.reasons, why.notKnown)
}

export async function whyPublishCommand(channel: string, options: TargetOptions): Promise<void> {
  const why = await changing(options, (broker) => whyPublish(engineOf(broker), channel))
  if (options.json === true) return printJson(why)
  tell(`publishing to ${channel}`, why.reasons, why.notKnown)
}

export interface WhyRuleOptions extends TargetOptions {
  readonly on?: string
  readonly offset?: string
}

export async function whyRuleCommand(rule: string, options: WhyRuleOptions): Promise<void> {
  const { on, offset } = options
  if (on === undefined || offset === undefined)
    throw new MillraceError('INVALID_OPTION', 'name the event: --on CHANNEL --offset OFFSET', { option: 'on' })
  const at = countOf('offset', offset)
  const why = await changing(options, (broker) => whyRule(broker, rule, on, at))
  if (options.json === true) return printJson(why)
  const matches = why.matches === null ? 'not asked' : why.matches ? 'matches' : 'does not match'
  tell(`${rule}: ${matches}${why.revision === null ? '' : ` (revision ${why.revision})`}`, why.reasons, [])
}

function eventOf({ offset, id }: WhyEventOptions): { readonly offset: number } | { readonly id: string } {
  if (offset !== undefined && id === undefined) return { offset: countOf('offset', offset) }
  if (id !== undefined && offset === undefined) return { id }
  throw new MillraceError('INVALID_OPTION', 'name the event: --offset OFFSET, or --id ID', { option: 'offset' })
}

function tell(head: string, reasons: readonly Reason[], notKnown: readonly string[]): void {
  print(colour('bold', head))
  for (const { because, text } of reasons) print(`  ${text} ${colour('dim', `[${because}]`)}`)
  for (const text of notKnown) print(colour('dim', `  not known: ${text}`))
}
