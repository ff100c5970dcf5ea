/** `millrace channels` and `millrace consumers`: lists them, with the lag of each consumer. */
import { complete, print, printJson, table } from './output.ts'
import { looking, nameOf, type TargetOptions } from './target.ts'

export async function channelsCommand(options: TargetOptions): Promise<void> {
  const { channels } = await looking(options, (broker) => broker.describe())
  if (options.json === true) printJson(channels)
  else {
    const rows = channels.map((each) => [
      each.name,
      each.kind,
      each.next - each.first,
      each.first,
      each.next,
      each.bytes ?? '?',
      each.scheduled,
      each.types?.join(' ') ?? 'any',
    ])
    print(table(['channel', 'kind', 'events', 'first', 'next', 'bytes', 'scheduled', 'types'], rows))
  }
  complete(`${channels.length} channel(s) in ${nameOf(options)}`, options)
}

export async function consumersCommand(options: TargetOptions): Promise<void> {
  const { consumers } = await looking(options, (broker) => broker.describe())
  if (options.json === true) printJson(consumers)
  else {
    const rows = consumers.flatMap((each) =>
      each.channels.map((position, index) => [
        index === 0 ? each.name : '',
        position.channel,
        position.floor,
        position.lag,
        `${(position.lagMs / 1000).toFixed(1)} s`,
        index === 0 ? each.deadLetters : '',
        index === 0 ? each.parked : '',
      ]),
    )
    print(table(['consumer', 'channel', 'position', 'lag', 'behind', 'dead', 'parked'], rows))
  }
  complete(`${consumers.length} consumer(s) in ${nameOf(options)}`, options)
}
