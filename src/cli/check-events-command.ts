/**
 * `millrace check-events`: compares the events that code declares with `events.lock.json` and with a broker's
 * declarations, and reads retained events with the code's schemas.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { MillraceError } from '../base/errors.ts'
import { engineOf } from '../broker/engine-of.ts'
import { isChannel } from '../channel/channel.ts'
import { type DeclaredEvent, declaredEvents } from '../compatibility/declared-events.ts'
import { judgeEvent } from '../compatibility/judged-event.ts'
import { earlierSchemas, type LockedEvent, lockText, parseLock } from '../compatibility/lock-file.ts'
import { COMPATIBILITY_MODES, type CompatibilityMode } from '../compatibility/schema-change.ts'
import { type ComparedEvent, eventsOfBroker, type RetainedEvents } from './check-events/broker-events.ts'
import { colour, complete, EXIT, print, printJson } from './output.ts'
import { changing, countOf, looking, nameOf, type TargetOptions } from './target.ts'
import { userModule } from './user-module.ts'

export interface CheckEventsOptions extends TargetOptions {
  readonly lock: string
  readonly mode: string
  readonly sample: string
  readonly update?: boolean
  readonly register?: boolean
  readonly allow?: boolean
  readonly strict?: boolean
}

export async function checkEventsCommand(modules: readonly string[], options: CheckEventsOptions): Promise<void> {
  const mode = modeOf(options.mode)
  const sample = countOf('sample', options.sample, 1)
  const exported = (await Promise.all(modules.map(loaded))).flat()
  const declared = declaredEvents(exported)
  if (declared.length === 0)
    throw new MillraceError(
      'INVALID_OPTION',
      `${modules.join(', ')} exports no channel with events and no event definition: export what stream(), queue() or event() returns`,
      { option: 'module' },
    )
  const locked = existsSync(options.lock) ? parseLock(readFileSync(options.lock, 'utf8'), options.lock) : null
  const compared = [...againstLock(declared, locked ?? [], mode)]
  let retained: RetainedEvents[] = []
  const hasBroker = options.data !== undefined || options.url !== undefined
  if (options.register === true && !hasBroker)
    throw new MillraceError('INVALID_OPTION', '--register needs a broker: --url URL, or --data DIRECTORY', {
      option: 'register',
    })
  if (hasBroker) {
    const found = await looking(options, (broker) => eventsOfBroker(broker, declared, mode, sample))
    compared.push(...found.compared)
    retained = found.retained
  }
  const text = lockText(declared, locked ?? [])
  const isCurrent = locked !== null && readFileSync(options.lock, 'utf8') === text
  const failed =
    compared.some(({ verdict }) => verdict === 'incompatible' || (verdict === 'unknown' && options.strict === true)) ||
    retained.some(({ failed: count }) => count > 0)
  const goesOn = !failed || options.allow === true
  const updates = options.update === true && goesOn
  const registers = options.register === true && goesOn
  if (registers) await register(exported, options)
  if (updates) writeFileSync(options.lock, text)
  const stale = !isCurrent && !updates
  if (options.json === true)
    printJson({ mode, events: declared.length, compared, retained, lock: { path: options.lock, current: !stale } })
  else report(compared, retained, nameOf(options))
  if ((failed && !((updates || registers) && options.allow === true)) || stale) process.exitCode = EXIT.failed
  if (options.json === true) return
  if (failed && !updates && !registers)
    process.stderr.write(
      `${colour('red', '✗')} a change cannot be read everywhere: add a version with nextVersion(), or accept it with --update --allow (on a broker: --register --allow)\n`,
    )
  else if (stale)
    process.stderr.write(`${colour('red', '✗')} ${options.lock} is not up to date: run the command with --update\n`)
  else {
    const done = `${updates ? `, ${options.lock} written` : ''}${registers ? `, declared on ${nameOf(options)}` : ''}`
    complete(`${declared.length} event(s) checked (${mode})${done}`, options)
  }
}

/** Declares the channels of the modules, whose changes were judged before. */
async function register(exported: readonly unknown[], options: TargetOptions): Promise<void> {
  await changing(options, async (broker) => {
    for (const { spec } of exported.filter(isChannel))
      await engineOf(broker).declare({ ...spec, compatibility: 'none' })
  })
}

/** @throws INVALID_OPTION */
function modeOf(text: string): CompatibilityMode {
  const mode = COMPATIBILITY_MODES.find((each) => each === text)
  if (mode !== undefined) return mode
  throw new MillraceError('INVALID_OPTION', `--mode is one of ${COMPATIBILITY_MODES.join(', ')}; it is "${text}"`, {
    option: 'mode',
  })
}

/** The values that a module exports. @throws INVALID_OPTION when it cannot be loaded */
async function loaded(path: string): Promise<unknown[]> {
  const module = await userModule(path)
  return Object.values(module).flatMap((value) => (Array.isArray(value) ? (value as unknown[]) : [value]))
}

function againstLock(
  declared: readonly DeclaredEvent[],
  locked: readonly LockedEvent[],
  mode: CompatibilityMode,
): ComparedEvent[] {
  return declared.flatMap((event) => {
    const before = locked.find(({ channel, type }) => channel === event.channel && type === event.type)
    if (before === undefined) return []
    const versions = Object.keys(before.schemas)
    const schemas = (version: string): ReturnType<typeof earlierSchemas> => earlierSchemas(before, version)
    const judged = judgeEvent({ version: before.version, versions, schemas }, event, mode)
    return [{ ...judged, against: 'lock file' as const, consumers: [], rules: [] }]
  })
}

function report(compared: readonly ComparedEvent[], retained: readonly RetainedEvents[], broker: string): void {
  for (const { event, against, verdict, changed, breaks, undecided, consumers, rules } of compared) {
    if (!changed && verdict === 'compatible') continue
    const mark = { compatible: colour('green', '✓'), incompatible: colour('red', '✗'), unknown: colour('yellow', '?') }
    print(`${mark[verdict]} ${event}, against the ${against}: ${verdict}`)
    for (const { version, direction, path, message, example } of breaks) {
      const reader = direction === 'backward' ? 'the new schema' : 'the old schema'
      print(`    version ${version}: ${reader} refuses ${path}: ${message}`)
      if (example !== undefined) print(`      example: ${JSON.stringify(example).slice(0, 300)}`)
    }
    for (const text of undecided) print(`    not decided: ${text}`)
    if (consumers.length > 0) print(`    read by consumers: ${consumers.join(', ')}`)
    if (rules.length > 0) print(`    read by rules: ${rules.join(', ')}`)
  }
  for (const { event, kept, read, failed, examples } of retained) {
    const part = read < kept ? `the newest ${read} of ${kept}` : `all ${read}`
    print(
      `${failed === 0 ? colour('green', '✓') : colour('red', '✗')} ${event}: ${failed} event(s) cannot be read with this code, of ${part} events kept in the channel of ${broker}`,
    )
    for (const { offset, message } of examples) print(`    offset ${offset}: ${message}`)
  }
}
