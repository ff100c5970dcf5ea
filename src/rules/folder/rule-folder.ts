/**
 * A watched folder of rules. A file changes rules when its content changes: a rule that was changed or removed in
 * another way stays so until the file is edited. A file that is refused leaves its rules unchanged; the reason is
 * reported and stored in `$rules`.
 */
import { type FSWatcher, watch } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isMillraceError, MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { RuleBook } from '../live/rule-book.ts'
import { type RuleRefused, rulesChannel } from '../live/rule-events.ts'
import { digestOf, isRuleFile, parseRuleFile } from './rule-file.ts'

/** Editors write a file in several steps, so a scan follows a change after this time. */
const QUIET_MS = 100

export class RuleFolder {
  readonly #path: string
  readonly #label: string
  readonly #book: RuleBook
  readonly #problem: (error: unknown) => void
  /** Size, time and inode of each file when it was read. */
  readonly #seen = new Map<string, string>()
  /** Files that were refused because a channel does not exist. Every scan tries them again. */
  readonly #awaitingChannel = new Set<string>()
  #watcher: FSWatcher | null = null
  #timer: NodeJS.Timeout | null = null
  #soonTimer: NodeJS.Timeout | null = null
  #scanning: Promise<void> = Promise.resolve()
  /** Whether a scan has read all files. */
  #scanned = false
  /**
   * Whether rules of removed files may have to be removed. Initially true: another process may have read files that
   * were removed since.
   */
  #mayHaveRemoved = true
  #stopped = false

  constructor(path: string, label: string, book: RuleBook, problem: (error: unknown) => void) {
    this.#path = path
    this.#label = label
    this.#book = book
    this.#problem = problem
  }

  /** @throws INVALID_OPTION when there is no such folder */
  async start(): Promise<void> {
    const found = await stat(this.#path).catch(() => null)
    if (found?.isDirectory() !== true)
      throw new MillraceError('INVALID_OPTION', `there is no folder "${this.#path}" of rules`, {
        option: 'folder',
        path: this.#path,
      })
    await this.scan()
    try {
      this.#watcher = watch(this.#path, () => this.#scanSoon())
      this.#watcher.on('error', () => this.#watcher?.close())
    } catch {
      // Some file systems cannot be watched. The scan every second is enough there.
    }
    this.#timer = setInterval(() => void this.scan(), LIMITS.ruleFolderMs)
  }

  #scanSoon(): void {
    if (this.#soonTimer !== null) clearTimeout(this.#soonTimer)
    this.#soonTimer = setTimeout(() => void this.scan(), QUIET_MS)
  }

  /** Checks all files, and applies those that changed. */
  scan(): Promise<void> {
    this.#scanning = this.#scanning
      .then(() => this.#scanOnce())
      .catch((error: unknown) => {
        if (!this.#stopped) this.#problem(error)
      })
    return this.#scanning
  }

  async #scanOnce(): Promise<void> {
    if (this.#stopped) return
    const names = (await readdir(this.#path)).filter(isRuleFile).sort()
    const failures: unknown[] = []
    for (const name of names) {
      // If a file fails, the other files are still checked. It is not in #seen, so the next scan tries it again.
      await this.#check(name).catch((error: unknown) => failures.push(error))
      if (isMillraceError(failures[0], 'CLOSED')) break
    }
    if (failures.length > 0) throw failures[0]
    this.#scanned = true
    for (const name of [...this.#seen.keys()].filter((each) => !names.includes(each))) {
      this.#seen.delete(name)
      this.#awaitingChannel.delete(name)
      this.#mayHaveRemoved = true
    }
    if (!this.#mayHaveRemoved) return
    await this.#removeRulesOfRemoved(new Set(names))
    this.#mayHaveRemoved = false
  }

  /** Applies a file if it has changed since it was applied. */
  async #check(name: string): Promise<void> {
    const found = await stat(join(this.#path, name)).catch(() => null)
    const state = found?.isFile() === true ? `${found.size} ${found.mtimeMs} ${found.ino}` : 'no file'
    if (this.#seen.get(name) === state && !this.#awaitingChannel.has(name)) return
    const before = this.#seen.get(name)
    this.#seen.set(name, state)
    this.#mayHaveRemoved = true
    try {
      if (found?.isFile() === true) await this.#apply(name, !this.#scanned || this.#awaitingChannel.has(name))
    } catch (error) {
      if (before === undefined) this.#seen.delete(name)
      else this.#seen.set(name, before)
      throw error
    }
  }

  /** `again`: applies the file also if this content was refused before, since the reason may no longer hold. */
  async #apply(name: string, again: boolean): Promise<void> {
    const text = await readFile(join(this.#path, name), 'utf8')
    const digest = digestOf(text)
    const file = { folder: this.#label, path: name, digest }
    await this.#book.load()
    if (this.#refusedAs(name) === digest && !again) return
    this.#awaitingChannel.delete(name)
    if (this.#isApplied(name, digest)) return this.#clearRefusal(name)
    try {
      const definitions = parseRuleFile(text, name)
      this.#refuseDuplicates(name, definitions)
      await this.#book.put(definitions, { author: 'folder', file })
      await this.#removeDropped(name, new Set(definitions.map((definition) => definition.name)))
    } catch (error) {
      // A transient error is not a fault of the file.
      if (!isMillraceError(error) || error.retryable || isMillraceError(error, 'CLOSED')) throw error
      if (isMillraceError(error, 'UNKNOWN_CHANNEL')) this.#awaitingChannel.add(name)
      await this.#refuse(name, digest, error)
    }
  }

  #refusedAs(name: string): string | undefined {
    return this.#book.table.refused.get(`${this.#label}/${name}`)?.digest
  }

  /** Whether this content of the file was applied before, by this process or another. */
  #isApplied(name: string, digest: string): boolean {
    const key = `${this.#label}/${name}`
    return [...this.#book.table.entries.values()].some((entry) => entry.digests.get(key) === digest)
  }

  /** Refuses a rule that another file already defines: the two files would overwrite each other. */
  #refuseDuplicates(name: string, definitions: readonly { readonly name: string }[]): void {
    for (const definition of definitions) {
      const file = this.#book.table.current(definition.name)?.change.file
      if (file === undefined || file.folder !== this.#label || file.path === name || !this.#seen.has(file.path))
        continue
      throw new MillraceError('INVALID_RULE', `${name}: rule "${definition.name}" is in ${file.path} already`, {
        file: name,
        reason: 'the rule is in another file',
      })
    }
    const names = definitions.map((definition) => definition.name)
    const twice = names.find((each, at) => names.indexOf(each) !== at)
    if (twice !== undefined)
      throw new MillraceError('INVALID_RULE', `${name}: rule "${twice}" is in the file twice`, {
        file: name,
        reason: 'the rule is in the file twice',
      })
  }

  async #refuse(path: string, digest: string, error: MillraceError): Promise<void> {
    const before = this.#book.table.refused.get(`${this.#label}/${path}`)
    if (before?.digest === digest && before.reason === error.message) return
    const kept = [...this.#book.table.all()]
      .filter(({ change }) => change.file?.folder === this.#label && change.file.path === path)
      .map(({ name }) => name)
    const data: RuleRefused = { folder: this.#label, path, digest, reason: error.message, kept }
    await this.#book.broker.publish(rulesChannel, { type: 'rule.refused', data, source: '/millrace/rules' })
    this.#problem(error)
  }

  /** Records that the file is no longer refused. */
  async #clearRefusal(path: string): Promise<void> {
    if (this.#refusedAs(path) === undefined) return
    const data: RuleRefused = { folder: this.#label, path, digest: '', reason: null, kept: [] }
    await this.#book.broker.publish(rulesChannel, { type: 'rule.refused', data, source: '/millrace/rules' })
  }

  /** Removes the rules that the file no longer contains. */
  #removeDropped(path: string, names: ReadonlySet<string>): Promise<void> {
    return this.#remove((file, name) => file.path === path && !names.has(name), `${path} no longer contains it`)
  }

  async #removeRulesOfRemoved(names: ReadonlySet<string>): Promise<void> {
    await this.#remove((file) => !names.has(file.path), 'its file was removed')
    for (const { folder, path } of [...this.#book.table.refused.values()])
      if (folder === this.#label && !names.has(path)) await this.#clearRefusal(path)
  }

  /** Removes rules whose last change came from this folder and for which `which` is true. */
  async #remove(which: (file: { readonly path: string }, name: string) => boolean, reason: string): Promise<void> {
    await this.#book.load()
    for (const { name, change } of [...this.#book.table.all()]) {
      if (change.file?.folder !== this.#label || !which(change.file, name)) continue
      // The digest is empty, so that the same file adds the rule again if it comes back.
      await this.#book.remove(name, { author: 'folder', reason, file: { ...change.file, digest: '' } })
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#watcher?.close()
    if (this.#timer !== null) clearInterval(this.#timer)
    if (this.#soonTimer !== null) clearTimeout(this.#soonTimer)
    await this.#scanning
  }
}
