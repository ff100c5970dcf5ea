/** How commands are declared: their options that are the same everywhere, and how they run. */
import { type Command, Option } from 'commander'
import { fail, type OutputOptions } from './output.ts'

/** Run a command. If it fails, print the error once, in the chosen format, and set the exit code. */
export function run<Options extends OutputOptions>(
  act: (options: Options) => Promise<void>,
): (options: Options) => Promise<void> {
  return async (options) => {
    try {
      await act(options)
    } catch (error) {
      process.exitCode = fail(error, options)
    }
  }
}

export function on<Options extends OutputOptions>(
  act: (name: string, options: Options) => Promise<void>,
): (name: string, options: Options) => Promise<void> {
  return (name, options) => run<Options>((given) => act(name, given))(options)
}

export function command(parent: Command, name: string, description: string, example: string): Command {
  return parent
    .command(name)
    .description(description)
    .option('--json', 'print JSON')
    .addHelpText('after', `\nExample:\n  $ ${example}`)
}

export function withData(built: Command): Command {
  return built
    .option('--data <directory>', 'the data directory (default: ./data)')
    .addOption(
      new Option('--url <url>', 'a broker by its URL instead, as connect() takes it: ws://…, nats://…').env(
        'BROKER_URL',
      ),
    )
}
