#!/usr/bin/env node
/** The command line: this file declares each command and its options. The commands themselves have their own files. */
import { readFileSync } from 'node:fs'
import { Command, Option } from 'commander'
import { MillraceError } from '../base/errors.ts'
import { EXIT, fail, type OutputOptions, watchReader } from './output.ts'
import { command, on, run, withData } from './program.ts'
import { declareSchedules } from './schedules-program.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  readonly version: string
}

const program = new Command('millrace')
  .description('Events, channels and consumers on a durable broker.')
  .version(version)
program.showHelpAfterError('(millrace --help lists the commands)')
program.hook('preAction', (_, action) => {
  // An empty option usually comes from a shell variable that is not set. It is refused, because it could select
  // something else, or everything.
  const empty = action.options.find(
    (option) =>
      action.getOptionValueSource(option.attributeName()) === 'cli' &&
      action.getOptionValue(option.attributeName()) === '',
  )
  if (empty === undefined) return
  const error = new MillraceError(
    'INVALID_OPTION',
    `${empty.long} is given without a value: leave it out, or give a value`,
    { option: empty.name() },
  )
  process.exit(fail(error, action.opts()))
})
program.exitOverride((error) => process.exit(error.exitCode === 0 ? EXIT.done : EXIT.usage))

withData(command(program, 'serve', 'serve a broker over HTTP', 'millrace serve --data ./data --port 8080'))
  .option('--port <port>', 'the port; 0 chooses a free one', '8080')
  .option('--host <host>', 'the address to listen on; without tokens or JWTs only loopback is allowed', '127.0.0.1')
  .option('--tokens <file>', 'the file of tokens (default: .tokens.json of the data directory, if it exists)')
  .option('--jwks <url>', 'accept JSON Web Tokens, with the keys at this URL; needs --issuer and --audience')
  .option('--issuer <issuer>', 'the required issuer of JSON Web Tokens')
  .option('--audience <audience>', 'the required audience of JSON Web Tokens')
  .option('--tls-cert <file>', 'serve HTTPS with this certificate (PEM); needs --tls-key')
  .option('--tls-key <file>', 'the private key of the certificate (PEM)')
  .option('--cors <origins...>', 'origins whose pages may use the gateway')
  .option('--trace-url <url>', 'where the console links to for a trace, with {traceId} in it')
  .option('--history <objects>', 'keep figures of up to this many channels and consumers; off keeps none')
  .option('--config <file>', 'a YAML or JSON file: webhooks and their secrets, push, a folder of rules')
  .action(run(async (options) => (await import('./serve-command.ts')).serveCommand(options as never)))

withData(
  command(
    program,
    'publish <channel>',
    'publish one event, or JSON lines',
    `millrace publish carts --type cart.item.added --payload '{"sku":"tea"}'\n  $ millrace publish carts --file events.jsonl`,
  ),
)
  .option('--type <type>', 'the event type; with --file, the type of all lines, which are then data')
  .option('--payload <json>', 'the data')
  .option('--key <key>', 'the key for order (partitionkey)')
  .option('--id <id>', 'the event id')
  .option('--source <uri>', 'the source of the event')
  .option('--file <path>', 'JSON lines, each a CloudEvent; - is standard input')
  .option('--create', 'create the channel, as a stream, if it does not exist')
  .action(
    on(async (channel, options) => (await import('./publish-command.ts')).publishCommand(channel, options as never)),
  )

withData(
  command(
    program,
    'tail <channels...>',
    'show events of channels (names and wildcards)',
    `millrace tail carts 'orders.>' --from 1h --follow --where '{"data":{"sku":["tea"]}}'`,
  ),
)
  .option('--from <position>', 'beginning, end, an offset, an age (1h) or a time')
  .option('--to <position>', 'stop before this position')
  .option('--where <pattern>', 'only events that match, in the event-pattern language')
  .option('--limit <count>', 'at most this many')
  .option('-f, --follow', 'continue with new events')
  .action((channels: readonly string[], options: OutputOptions) =>
    run<OutputOptions>(async (given) => (await import('./tail-command.ts')).tailCommand(channels, given as never))(
      options,
    ),
  )

withData(command(program, 'channels', 'list channels', 'millrace channels --data ./data')).action(
  run(async (options) => (await import('./list-commands.ts')).channelsCommand(options as never)),
)
withData(command(program, 'consumers', 'list consumers with their lag', 'millrace consumers --json')).action(
  run(async (options) => (await import('./list-commands.ts')).consumersCommand(options as never)),
)

withData(
  command(
    program,
    'table <name> [key]',
    'show the state of a consumer, or the latest events of a stream, by key',
    `millrace table stock tea\n  $ millrace table stock --prefix tea- --json`,
  ),
)
  .option('--prefix <text>', 'only keys that begin with this')
  .option('--limit <count>', 'at most this many')
  .option('-f, --follow', 'continue with changes')
  .action((name: string, key: string | undefined, options: OutputOptions) =>
    run<OutputOptions>(async (given) => (await import('./table-command.ts')).tableCommand(name, key, given as never))(
      options,
    ),
  )

const operated = program
  .command('consumer')
  .description('pause, resume, rewind or remove a consumer, in every process; list its retries')
const consumerCommands = (): Promise<typeof import('./consumer-commands.ts')> => import('./consumer-commands.ts')
withData(
  command(
    operated,
    'pause <consumer>',
    'deliver nothing to it until it is resumed, also after restarts',
    'millrace consumer pause billing --reason "the bank is down"',
  ),
)
  .option('--reason <text>', 'the reason; the description of the consumer shows it, and $audit keeps it')
  .action(on(async (name, options) => (await consumerCommands()).consumerPauseCommand(name, options as never)))
withData(command(operated, 'resume <consumer>', 'continue where it was paused', 'millrace consumer resume billing'))
  .option('--reason <text>', 'the reason; it is kept in $audit')
  .action(on(async (name, options) => (await consumerCommands()).consumerResumeCommand(name, options as never)))
withData(
  command(
    operated,
    'retries <consumer>',
    'list the events that wait for another attempt, the soonest first',
    'millrace consumer retries billing',
  ),
)
  .option('--limit <count>', 'at most this many, up to 100', '20')
  .action(on(async (name, options) => (await consumerCommands()).consumerRetriesCommand(name, options as never)))
withData(
  command(
    operated,
    'rewind <consumer>',
    'move it to another position, running or not',
    'millrace consumer rewind billing --to 1h --channel orders --reason "prices were wrong"',
  ),
)
  .option('--to <position>', 'beginning, end, an offset, an age (1h) or a time')
  .option('--channel <name>', 'only in this channel')
  .option('--state <choice>', 'keep or reset: what happens with the state of a consumer that keeps any')
  .option('--reason <text>', 'the reason; it is kept in $audit')
  .action(on(async (name, options) => (await consumerCommands()).consumerRewindCommand(name, options as never)))
withData(
  command(
    operated,
    'remove <consumer>',
    'remove a consumer that does not run, with its positions, retries and dead letters',
    'millrace consumer remove billing',
  ),
)
  .option('--reason <text>', 'the reason; it is kept in $audit')
  .action(on(async (name, options) => (await consumerCommands()).consumerRemoveCommand(name, options as never)))

withData(
  command(
    program,
    'backup <directory>',
    'back up a data directory, also one that is in use',
    'millrace backup ./backups/monday --data ./data',
  ),
).action(
  on(async (directory, options) => (await import('./backup-command.ts')).backupCommand(directory, options as never)),
)

withData(
  command(
    program,
    'check [directory]',
    'check a data directory for damage; no process may have it open',
    'millrace check ./data --repair',
  ),
)
  .option(
    '--repair',
    'replace the damaged files with everything that can be read; the old files are kept beside the directory',
  )
  .action(async (directory: string | undefined, options: OutputOptions) =>
    run<OutputOptions>(async (given) => (await import('./check-command.ts')).checkCommand(directory, given as never))(
      options,
    ),
  )

const dead = program.command('dead').description('list, show, redrive or drop the events that a consumer gave up on')
function deadCommand(name: string, description: string, example: string): Command {
  return withData(command(dead, `${name} <consumer>`, description, example))
    .option('--channel <name>', 'of this channel')
    .option('--offset <offset>', 'at this offset')
    .option('--id <id>', 'with this event id')
    .option('--key <key>', 'with this key')
    .option('--limit <count>', 'at most this many, the oldest first')
}
deadCommand('list', 'list dead letters', 'millrace dead list stock').action(
  on(async (name, options) => (await import('./dead-commands.ts')).deadListCommand(name, options as never)),
)
deadCommand('show', 'show dead letters with all details', 'millrace dead show stock --offset 17').action(
  on(async (name, options) => (await import('./dead-commands.ts')).deadShowCommand(name, options as never)),
)
deadCommand('redrive', 'give dead letters back to the consumer', 'millrace dead redrive stock --all')
  .option('--all', 'all dead letters of the consumer')
  .option('--reason <text>', 'the reason; it is kept in $audit')
  .action(on(async (name, options) => (await import('./dead-commands.ts')).deadRedriveCommand(name, options as never)))
deadCommand('drop', 'delete dead letters', 'millrace dead drop stock --offset 17')
  .option('--all', 'all dead letters of the consumer')
  .option('--reason <text>', 'the reason; it is kept in $audit')
  .action(on(async (name, options) => (await import('./dead-commands.ts')).deadDropCommand(name, options as never)))

const delayed = program.command('delayed').description('list or cancel the delayed events of a channel')
const delayedCommands = (): Promise<typeof import('./delayed-commands.ts')> => import('./delayed-commands.ts')
withData(
  command(
    delayed,
    'list <channel>',
    'list delayed events, the soonest first',
    'millrace delayed list reminders --key cart-7',
  ),
)
  .option('--id <id>', 'with this event id')
  .option('--key <key>', 'with this key')
  .option('--limit <count>', 'at most this many')
  .action(on(async (channel, options) => (await delayedCommands()).delayedListCommand(channel, options as never)))
withData(
  command(
    delayed,
    'cancel <channel>',
    'cancel a delayed event: it will not be stored',
    'millrace delayed cancel reminders --id 7f3a',
  ),
)
  .option('--id <id>', 'the id of the event')
  .option('--key <key>', 'all events with this key instead')
  .option('--reason <text>', 'the reason; it is kept in $audit')
  .action(on(async (channel, options) => (await delayedCommands()).delayedCancelCommand(channel, options as never)))

declareSchedules(program)

const tokens = program
  .command('tokens')
  .description('manage the tokens: who may use a served data directory, and for what')
function tokensCommand(name: string, description: string, example: string): Command {
  return withData(command(tokens, name, description, example)).option(
    '--file <file>',
    'the file of tokens (default: .tokens.json of the data directory)',
  )
}
tokensCommand(
  'add <name>',
  'create a token; it is shown once',
  "millrace tokens add shop --publish 'orders.*' --read '>'",
)
  .option('--publish <channels...>', 'permission to publish to these channels (names and wildcards)')
  .option('--consume <channels...>', 'permission to consume these channels')
  .option('--read <channels...>', 'permission to read these channels')
  .option(
    '--manage <channels...>',
    'permission to manage these channels: dead letters, positions, the channels themselves',
  )
  .option('--rules <channels...>', 'permission to change rules on these channels')
  .option('--metrics <channels...>', 'permission to read the metrics of these channels')
  .option('--sensitive <channels...>', 'permission to see the sensitive fields of events of these channels')
  .option('--expires <age>', 'the token expires after this time, such as 90d')
  .option('--rate <requests>', 'requests a second that its holder may make')
  .option('--open <count>', 'requests, streams and sockets that its holder may have open at once')
  .action(on(async (name, options) => (await import('./tokens-commands.ts')).tokensAddCommand(name, options as never)))
tokensCommand('list', 'list tokens, without the tokens themselves', 'millrace tokens list').action(
  run(async (options) => (await import('./tokens-commands.ts')).tokensListCommand(options as never)),
)
tokensCommand(
  'remove <id-or-name>',
  'remove tokens; servers notice within seconds',
  'millrace tokens remove shop',
).action(
  on(async (name, options) => (await import('./tokens-commands.ts')).tokensRemoveCommand(name, options as never)),
)

const asked = program
  .command('why')
  .description('why an event was not handled, a consumer does not move, publishing is slow, a rule did not act')
const whyCommands = (): Promise<typeof import('./why-command.ts')> => import('./why-command.ts')
withData(
  command(
    asked,
    'event <channel>',
    'why the consumers of a channel have, or have not, handled an event',
    'millrace why event orders --offset 17 --consumer billing',
  ),
)
  .option('--offset <offset>', 'the event at this offset')
  .option('--id <id>', 'the newest event with this id, or the delayed one')
  .option('--consumer <name>', 'only this consumer')
  .action(on(async (channel, options) => (await whyCommands()).whyEventCommand(channel, options as never)))
withData(
  command(asked, 'consumer <consumer>', 'why it does not move', 'millrace why consumer billing --url ws://host:8080'),
).action(on(async (name, options) => (await whyCommands()).whyConsumerCommand(name, options as never)))
withData(
  command(
    asked,
    'publish <channel>',
    'why publishing to it is slow: which bound it has reached',
    'millrace why publish orders --url ws://host:8080',
  ),
).action(on(async (channel, options) => (await whyCommands()).whyPublishCommand(channel, options as never)))
withData(
  command(
    asked,
    'rule <name>',
    'why it did not act on an event',
    'millrace why rule large-orders --on carts --offset 17',
  ),
)
  .option('--on <channel>', 'the channel of the event')
  .option('--offset <offset>', 'the offset of the event')
  .action(on(async (name, options) => (await whyCommands()).whyRuleCommand(name, options as never)))

const rules = program.command('rules').description('manage rules: handlers as data, changed while the system runs')
function ruleCommand(name: string, description: string, example: string): Command {
  return withData(command(rules, name, description, example))
}
function ruleChange(name: string, description: string, example: string): Command {
  return ruleCommand(name, description, example)
    .option('--author <name>', 'the author of the change (default: the user)')
    .option('--reason <text>', 'the reason; it stays in the history')
}
const rulesCommands = (): Promise<typeof import('./rules-commands.ts')> => import('./rules-commands.ts')
ruleCommand('list', 'list them', 'millrace rules list').action(
  run(async (options) => (await rulesCommands()).rulesListCommand(options as never)),
)
ruleCommand('show <name>', 'show a rule and its history', 'millrace rules show large-orders').action(
  on(async (name, options) => (await rulesCommands()).rulesShowCommand(name, options as never)),
)
ruleChange(
  'add <file>',
  'add the rules of a YAML or JSON file, or change them; - is standard input',
  'millrace rules add rules/large-orders.yaml --reason "as agreed"',
).action(on(async (file, options) => (await rulesCommands()).rulesAddCommand(file, options as never)))
ruleChange('enable <name>', 'switch it on', 'millrace rules enable large-orders').action(
  on(async (name, options) => (await rulesCommands()).rulesChangeCommand('enable', name, options as never)),
)
ruleChange(
  'disable <name>',
  'disable a rule; events that wait for its actions stay',
  'millrace rules disable large-orders --reason "too loud"',
).action(on(async (name, options) => (await rulesCommands()).rulesChangeCommand('disable', name, options as never)))
ruleChange(
  'remove <name>',
  'remove a rule, and the events that wait for its actions',
  'millrace rules remove large-orders',
).action(on(async (name, options) => (await rulesCommands()).rulesChangeCommand('remove', name, options as never)))
ruleCommand(
  'test <file-or-name>',
  'try a rule on stored events; nothing is done',
  'millrace rules test large-orders.yaml --on carts --from 7d',
)
  .option('--on <channels>', "channels to use instead of the rule's own, separated by commas")
  .option('--from <position>', 'beginning, end, an offset, an age (7d) or a time')
  .option('--to <position>', 'stop before this position')
  .option('--show <count>', 'how many matches to show', '10')
  .action(on(async (file, options) => (await rulesCommands()).rulesTestCommand(file, options as never)))
ruleCommand(
  'explain <file-or-name>',
  'explain why an event matches, or which condition fails first',
  'millrace rules explain large-orders --on carts --offset 17',
)
  .option('--on <channel>', 'the channel of the event')
  .option('--offset <offset>', 'the offset of the event')
  .option('--event <file>', 'the event, as CloudEvents JSON; - is standard input')
  .action(on(async (file, options) => (await rulesCommands()).rulesExplainCommand(file, options as never)))

command(
  program,
  'copy',
  'copy to another broker: events, consumers, dead letters, rules',
  'millrace copy --from file:./data --to nats://localhost:4222 --dry-run',
)
  .requiredOption('--from <url>', 'the broker to copy; it is not changed')
  .requiredOption('--to <url>', 'the broker to copy to')
  .option('--channels <names>', 'only these channels (names and wildcards, separated by commas)')
  .option('--consumers <names>', 'of streams, only these consumers (separated by commas)')
  .option(
    '--accept <clauses>',
    'numbers of the clauses of the contract that the target need not hold (separated by commas)',
  )
  .option('--dry-run', 'show what would be copied and how the target holds each clause; copy nothing')
  .option('--follow', 'continue with new events until nothing has changed for a while')
  .option('--quiet <time>', 'with --follow: how long nothing must have changed (default: 3s)')
  .action(run(async (options) => (await import('./copy-command.ts')).copyCommand(options as never)))

command(
  program,
  'tables',
  'make the tables of Millrace in a Postgres, or print the statements',
  'millrace tables --url postgres://localhost/shop?schema=events --plan',
)
  .addOption(new Option('--url <url>', 'the Postgres, as connect() takes it').env('BROKER_URL'))
  .option('--plan', 'print the statements; make nothing')
  .action(run(async (options) => (await import('./tables-command.ts')).tablesCommand(options as never)))

withData(
  command(
    program,
    'docs',
    'write the catalogue of events as Markdown, AsyncAPI and JSON Schemas',
    'millrace docs --data ./data --out ./docs/events',
  ),
)
  .option('--out <directory>', 'the directory for the files', './event-docs')
  .option('--title <text>', 'the title of the documents', 'Events')
  .option('--asyncapi <version>', 'the version of AsyncAPI: 3.0 or 3.1', '3.0')
  .option('--no-examples', 'write no data of events')
  .action(run(async (options) => (await import('./docs-command.ts')).docsCommand(options as never)))

withData(
  command(
    program,
    'check-events <modules...>',
    'compare the events of code with events.lock.json, and with a broker',
    'millrace check-events ./src/events.ts --url $BROKER_URL --mode full',
  ),
)
  .option('--lock <file>', 'the lock file', 'events.lock.json')
  .option('--mode <mode>', 'backward, forward or full, each also with -transitive', 'backward')
  .option('--sample <count>', 'how many of the newest events of each channel are read', '10000')
  .option('--update', 'write the lock file, unless a change is incompatible')
  .option('--register', 'declare the channels on the broker, unless a change is incompatible')
  .option('--allow', 'with --update and --register: do so also if a change is incompatible')
  .option('--strict', 'fail also if a change cannot be judged')
  .action((modules: readonly string[], options: OutputOptions) =>
    run<OutputOptions>(async (given) =>
      (await import('./check-events-command.ts')).checkEventsCommand(modules, given as never),
    )(options),
  )

const data = program.command('data').description("the tables of the outbox in your own application's database")
command(
  data,
  'migrate [module]',
  'make the tables in the database that a module exports, or print the statements',
  'millrace data migrate ./src/database.js --plan\n  $ millrace data migrate ./src/database.js',
)
  .option('--plan', 'print the statements, and change nothing')
  .option('--dialect <dialect>', 'without a module, with --plan: postgres or sqlite')
  .option('--export <name>', 'the export that is the database or its pool', 'default')
  .action((module: string | undefined, options: OutputOptions) =>
    run<OutputOptions>(async (given) => (await import('./data-command.ts')).dataMigrateCommand(module, given as never))(
      options,
    ),
  )

command(program, 'bench', 'measure this machine for a few seconds', 'millrace bench --seconds 2')
  .option('--seconds <seconds>', 'how long each row is measured', '2')
  .option('--folder <folder>', 'the directory for the data; the command measures its disk')
  .action(run(async (options) => (await import('./bench-command.ts')).benchCommand(options as never)))

watchReader()
await program.parseAsync()
