/** Declares `millrace schedules` and its options. */
import type { Command } from 'commander'
import { command, on, run, withData } from './program.ts'

const scheduleCommands = (): Promise<typeof import('./schedule-commands.ts')> => import('./schedule-commands.ts')

export function declareSchedules(program: Command): void {
  const schedules = program.command('schedules').description('list, put, pause, resume, run or remove schedules')
  withData(command(schedules, 'list', 'list them, with their next and last time', 'millrace schedules list')).action(
    run(async (options) => (await scheduleCommands()).schedulesListCommand(options as never)),
  )
  withData(
    command(
      schedules,
      'put <name>',
      'create a schedule, or replace it',
      "millrace schedules put report --channel reports --type report.due --cron '0 7 * * 1-5' --time-zone Europe/Berlin",
    ),
  )
    .option('--channel <name>', 'the channel of its events')
    .option('--type <type>', 'the type of its events')
    .option('--payload <json>', 'the data of its events')
    .option('--key <key>', 'the key of its events (partitionkey)')
    .option('--cron <expression>', 'at the times of a cron expression')
    .option('--time-zone <zone>', 'the time zone of --cron (default: UTC)')
    .option('--dst <policy>', 'where the clock jumps: vixie or skip')
    .option('--every <time>', 'in an interval: 15m')
    .option('--offset <time>', 'moves the times of --every')
    .option('--at <time>', 'once')
    .option('--missed <policy>', 'times that nothing handled: one, all or skip')
    .option('--jitter <time>', 'up to this much later')
    .option('--until <time>', 'the last moment')
    .action(on(async (name, options) => (await scheduleCommands()).schedulePutCommand(name, options as never)))
  for (const [verb, description] of [
    ['pause', 'times that pass do not publish until it is resumed'],
    ['resume', 'continue with the next time'],
    ['run', 'publish one more event now'],
    ['remove', 'delete it; its events stay'],
  ] as const) {
    const change = withData(command(schedules, `${verb} <name>`, description, `millrace schedules ${verb} report`))
    if (verb === 'pause') change.option('--reason <text>', 'the reason; the list shows it')
    change.action(
      on(async (name, options) => (await scheduleCommands()).scheduleChangeCommand(verb, name, options as never)),
    )
  }
}
