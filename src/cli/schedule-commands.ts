/** `millrace schedules`: list, put, pause, resume, run and remove schedules. They run in `millrace serve`. */
import { MillraceError } from '../base/errors.ts'
import type { UntypedEvent } from '../broker/broker.ts'
import type { ScheduleDescription, When } from '../broker/schedules.ts'
import { complete, print, printJson, table } from './output.ts'
import { changing, jsonOf, looking, nameOf, type TargetOptions } from './target.ts'

export interface SchedulePutOptions extends TargetOptions {
  readonly channel?: string
  readonly type?: string
  readonly payload?: string
  readonly key?: string
  readonly cron?: string
  readonly timeZone?: string
  readonly dst?: string
  readonly every?: string
  readonly offset?: string
  readonly at?: string
  readonly missed?: string
  readonly jitter?: string
  readonly until?: string
}

const AUTHOR = { author: 'command line' } as const
const WHEN = ['cron', 'timeZone', 'dst', 'every', 'offset', 'at', 'missed', 'jitter', 'until'] as const

export async function schedulesListCommand(options: TargetOptions): Promise<void> {
  const list = await looking(options, (broker) => broker.schedules.list())
  if (options.json === true) printJson({ schedules: list })
  else print(table(['schedule', 'channel', 'event', 'when', 'next', 'last', 'problem'], list.map(rowOf)))
  complete(`${list.length} schedule(s) in ${nameOf(options)}`, options)
}

function rowOf({ name, channel, type, when, paused, next, last }: ScheduleDescription): string[] {
  const soon =
    paused === null ? (next?.toISOString() ?? 'over') : `paused${paused.reason === null ? '' : `: ${paused.reason}`}`
  return [name, channel, type ?? 'a function', textOf(when), soon, last?.time.toISOString() ?? '', last?.problem ?? '']
}

function textOf({ cron, timeZone, every, at }: When): string {
  if (cron !== undefined) return `${cron} (${timeZone ?? 'UTC'})`
  return every === undefined ? `at ${new Date(at as number).toISOString()}` : `every ${Number(every) / 1000} s`
}

export async function schedulePutCommand(name: string, options: SchedulePutOptions): Promise<void> {
  const { channel, type, payload, key } = options
  if (channel === undefined || type === undefined)
    throw new MillraceError(
      'INVALID_OPTION',
      'a schedule needs --channel and --type, and one of --cron, --every, --at',
      {
        option: channel === undefined ? 'channel' : 'type',
      },
    )
  const when = Object.fromEntries(WHEN.flatMap((each) => (options[each] === undefined ? [] : [[each, options[each]]])))
  const event: UntypedEvent = {
    type,
    ...(payload !== undefined && { data: jsonOf(payload, '--payload') }),
    ...(key !== undefined && { partitionkey: key }),
  }
  const put = await changing(options, (broker) => broker.schedules.put(name, when as When, channel, event, AUTHOR))
  if (options.json === true) printJson(put)
  complete(`${name} publishes next at ${put.next?.toISOString() ?? 'no time: it is paused'}`, options)
}

export async function scheduleChangeCommand(
  verb: 'pause' | 'resume' | 'remove' | 'run',
  name: string,
  options: TargetOptions & { readonly reason?: string },
): Promise<void> {
  const done = await changing(options, async ({ schedules }): Promise<object> => {
    if (verb === 'pause')
      return schedules.pause(name, { ...AUTHOR, ...(options.reason !== undefined && { reason: options.reason }) })
    if (verb === 'resume') return schedules.resume(name, AUTHOR)
    if (verb === 'run') return schedules.run(name)
    await schedules.remove(name, AUTHOR)
    return { removed: name }
  })
  if (options.json === true) printJson(done)
  complete(DONE[verb](name), options)
}

const DONE: Readonly<Record<'pause' | 'resume' | 'remove' | 'run', (name: string) => string>> = {
  pause: (name) => `${name} is paused: times that pass do not publish`,
  resume: (name) => `${name} goes on with its next time`,
  remove: (name) => `${name} is removed; its events stay`,
  run: (name) => `${name} publishes one more event, in a process that runs schedules`,
}
