/** `startRules(broker)`: runs the rules of a broker in this process, and watches a folder of rules. */
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { checkFunction, knownOptions } from '../base/units.ts'
import type { Broker, BrokerHost } from '../broker/broker.ts'
import { checkBroker } from '../broker/engine-of.ts'
import { addressGuard } from '../outbound/public-address.ts'
import type { RuleFunction } from './action/call-action.ts'
import { RuleFolder } from './folder/rule-folder.ts'
import { RuleRuntime } from './live/rule-runtime.ts'
import { BookRules, type Rules } from './rules.ts'

export interface StartRulesOptions {
  /**
   * The functions that the action `call` may call, by name. A process performs only calls for which it has a function.
   */
  readonly functions?: Readonly<Record<string, RuleFunction>>
  /**
   * A folder of `.yaml`, `.yml` and `.json` files with rules, which is watched. `label` names it in the history.
   * @default none; label: the path
   */
  readonly folder?: string | { readonly path: string; readonly label?: string }
  /** The author of changes by this object's methods, unless a call names one. @default 'application' */
  readonly author?: string
  readonly http?: {
    /**
     * Addresses and blocks that are not public and that the `http` action may reach, such as `10.1.0.0/16`.
     * @default none
     */
    readonly allow?: readonly string[]
    /** Looks up the secret for a name such as `env:HOOK_SECRET`. @default the environment variable */
    readonly secret?: (name: string) => string | undefined
  }
  /** Called for problems that a person must solve, such as a refused file. @default a line on standard error */
  readonly onProblem?: (error: Error) => void
}

/** Rules that run in this process. */
export interface RunningRules extends Rules {
  /** Scans the folder again; resolves when its changes are in force. */
  rescan(): Promise<void>
  /** Takes no more events, and waits for running actions. The rules stay, and other processes continue to run them. */
  stop(): Promise<void>
  /** Resolves when the rules have stopped. */
  readonly done: Promise<void>
}

class StartedRules extends BookRules implements RunningRules {
  readonly done: Promise<void>
  readonly #runtime: RuleRuntime
  readonly #folder: RuleFolder | null

  constructor(runtime: RuleRuntime, author: string, folder: RuleFolder | null) {
    super(runtime.book, author)
    this.#runtime = runtime
    this.#folder = folder
    this.done = runtime.done
  }

  async start(host: BrokerHost): Promise<this> {
    await this.#runtime.start(host)
    await this.#folder?.start()
    return this
  }

  async rescan(): Promise<void> {
    await this.#folder?.scan()
  }

  async stop(): Promise<void> {
    await this.#folder?.stop()
    await this.#runtime.stop()
  }
}

function environment(name: string): string | undefined {
  return name.startsWith('env:') ? process.env[name.slice('env:'.length)] : undefined
}

function reporterOf(onProblem: StartRulesOptions['onProblem']): (error: unknown) => void {
  return (error) => {
    const problem = error instanceof Error ? error : new Error(String(error))
    if (onProblem !== undefined) onProblem(problem)
    else
      process.stderr.write(`millrace rules: ${isMillraceError(problem) ? `${problem.code}: ` : ''}${problem.message}\n`)
  }
}

/**
 * Runs the rules of a broker in this process. Rules are stored in the broker's channel `$rules`. When one is changed,
 * by this object, by `rulesOf`, on the command line or in a watched folder, all processes that run rules apply the
 * change within a second.
 *
 * Each rule sees each event at least once, in the order of its key. What it emits or forwards takes effect once, with
 * the event's completion (clause 12). Each `http` and `call` action has a consumer of its own, `rule.NAME.ACTION`, with
 * retries and dead letters like any other.
 *
 * @throws INVALID_OPTION when the argument is not a broker, an option is wrong, or there is no such folder
 * @example
 * ```ts
 * import { connect, stream } from 'millrace'
 * import { startRules } from 'millrace/rules'
 *
 * const broker = await connect('memory:')
 * const carts = stream('carts')
 * await broker.declare(carts, stream('alerts'))
 *
 * const rules = await startRules(broker)
 * await rules.put({
 *   name: 'large-orders',
 *   on: 'carts',
 *   when: { data: { quantity: [{ numeric: ['>', 100] }] } },
 *   then: { emit: { channel: 'alerts', type: 'alert.large-order', data: { cart: '{{ data.cart }}' } } },
 * })
 * await broker.publish(carts, { type: 'cart.item.added', data: { cart: 'c-1', quantity: 200 } })
 *
 * for await (const alert of broker.read('alerts', { follow: true })) {
 *   console.log(alert.data) // { cart: 'c-1' }
 *   break
 * }
 * await broker.close()
 * ```
 * @see docs/guide/rules.md
 */
export async function startRules(broker: Broker, options: StartRulesOptions = {}): Promise<RunningRules> {
  checkBroker(broker, 'startRules')
  knownOptions(options, ['functions', 'folder', 'author', 'http', 'onProblem'], 'startRules')
  const { functions = {}, folder, author = 'application', http = {} } = options
  knownOptions(http, ['allow', 'secret'], 'http of startRules')
  knownOptions(functions, Object.keys(Object(functions)), 'functions of startRules')
  if (http.secret !== undefined) checkFunction(http.secret, 'http.secret')
  if (options.onProblem !== undefined) checkFunction(options.onProblem, 'onProblem')
  for (const [name, called] of Object.entries(functions)) {
    if (typeof called !== 'function')
      throw new MillraceError('INVALID_OPTION', `"${name}" of functions is not a function`, {
        option: 'functions',
        name,
      })
  }
  const problem = reporterOf(options.onProblem)
  const runtime = new RuleRuntime(broker, {
    functions: new Map(Object.entries(functions)),
    http: { guard: addressGuard(http.allow ?? []), secret: http.secret ?? environment },
    problem,
  })
  const source = typeof folder === 'string' ? { path: folder } : folder
  const watched =
    source === undefined ? null : new RuleFolder(source.path, source.label ?? source.path, runtime.book, problem)
  return broker.start(new StartedRules(runtime, author, watched))
}
