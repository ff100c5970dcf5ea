/**
 * A folder of rules that is watched. A file acts when it changes: what was changed or removed by other ways since stays so until somebody
 * edits the file. A file that cannot be taken up leaves its rules as they were, and why is said and kept in `$rules`.
 */
import { type FSWatcher, watch } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isMillraceError, MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { RuleBook } from '../live/rule-book.ts'
import { type RuleRefused, rulesChannel } from '../live/rule-events.ts'
import { digestOf, isRuleFile, parseRuleFile } from './rule-file.ts'

/** Editors write a file in several steps: what has just changed is looked at a little later. */
const QUIET_MS = 100

export class RuleFolder {
  readonly #path: string
  readonly #label: string
  readonly #book: RuleBook
  readonly #problem: (error: unknown) => void
  /** Size and time of files as they were when they were read. */
  readonly #seen = new Map<string, string>()
  /** Files that were refused for a channel that was not there: they are tried again, though they do not change. */
  readonly #waiting = new Set<string>()
  #watcher: FSWatcher | null = null
  #timer: NodeJS.Timeout | null = null
  #soon: NodeJS.Timeout | null = null
  #scanning: Promise<void> = Promise.resolve()
  /** A scan has been through all files. */
  #scanned = false
  /** Rules of files that are gone may have to be removed. The first time files may be gone that somebody else has taken up. */
  #changed = true
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
      // Some file systems give no notices: looking every second is enough.
    }
    this.#timer = setInterval(() => void this.scan(), LIMITS.ruleFolderMs)
  }

  #scanSoon(): void {
    if (this.#soon !== null) clearTimeout(this.#soon)
    this.#soon = setTimeout(() => void this.scan(), QUIET_MS)
  }

  /** Look at all files, and take up what changed. */
  scan(): Promise<void> {
    this.#scanning = this.#scanning
      .then(() => this.#scan())
      .catch((error: unknown) => {
        if (!this.#stopped) this.#problem(error)
      })
    return this.#scanning
  }

  async #scan(): Promise<void> {
    if (this.#stopped) return
    const names = (await readdir(this.#path)).filter(isRuleFile).sort()
    const failures: unknown[] = []
    for (const name of names) {
      // A file that could not be taken up is not seen: the next scan tries it again, and the others do not wait for it.
      await this.#look(name).catch((error: unknown) => failures.push(error))
      if (isMillraceError(failures[0], 'CLOSED')) break
    }
    if (failures.length > 0) throw failures[0]
    this.#scanned = true
    for (const name of [...this.#seen.keys()].filter((each) => !names.includes(each))) {
      this.#seen.delete(name)
      this.#waiting.delete(name)
      this.#changed = true
    }
    if (!this.#changed) return
    await this.#removeGone(new Set(names))
    this.#changed = false
  }

  /** Take a file up if it has changed since it was taken up. */
  async #look(name: string): Promise<void> {
    const found = await stat(join(this.#path, name)).catch(() => null)
    const state = found?.isFile() === true ? `${found.size} ${found.mtimeMs} ${found.ino}` : 'no file'
    if (this.#seen.get(name) === state && !this.#waiting.has(name)) return
    const before = this.#seen.get(name)
    this.#seen.set(name, state)
    this.#changed = true
    try {
      if (found?.isFile() === true) await this.#takeUp(name, !this.#scanned || this.#waiting.has(name))
    } catch (error) {
      if (before === undefined) this.#seen.delete(name)
      else this.#seen.set(name, before)
      throw error
    }
  }

  /** `again`: what it was refused for may have changed, though the file has not. */
  async #takeUp(name: string, again: boolean): Promise<void> {
    const text = await readFile(join(this.#path, name), 'utf8')
    const digest = digestOf(text)
    const file = { folder: this.#label, path: name, digest }
    await this.#book.load()
    if (this.#refusedAs(name) === digest && !again) return
    this.#waiting.delete(name)
    if (this.#rulesOf(name, digest)) return this.#clear(name)
    try {
      const definitions = parseRuleFile(text, name)
      this.#refuseTaken(name, definitions)
      await this.#book.put(definitions, { author: 'folder', file })
      await this.#removeDropped(name, new Set(definitions.map((definition) => definition.name)))
    } catch (error) {
      // What passes by itself says nothing of the file.
      if (!isMillraceError(error) || error.retryable || isMillraceError(error, 'CLOSED')) throw error
      if (isMillraceError(error, 'UNKNOWN_CHANNEL')) this.#waiting.add(name)
      await this.#refuse(name, digest, error)
    }
  }

  #refusedAs(name: string): string | undefined {
    return this.#book.table.refused.get(`${this.#label}/${name}`)?.digest
  }

  /** Whether this content of the file was taken up before, by this process or another. */
  #rulesOf(name: string, digest: string): boolean {
    const key = `${this.#label}/${name}`
    return [...this.#book.table.entries.values()].some((entry) => entry.digests.get(key) === digest)
  }

  /** Two files with one rule would take turns. */
  #refuseTaken(name: string, definitions: readonly { readonly name: string }[]): void {
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

  /** The file is not refused any more. */
  async #clear(path: string): Promise<void> {
    if (this.#refusedAs(path) === undefined) return
    const data: RuleRefused = { folder: this.#label, path, digest: '', reason: null, kept: [] }
    await this.#book.broker.publish(rulesChannel, { type: 'rule.refused', data, source: '/millrace/rules' })
  }

  /** Rules that the file held before, and holds no more. */
  #removeDropped(path: string, names: ReadonlySet<string>): Promise<void> {
    return this.#remove((file, name) => file.path === path && !names.has(name), `${path} no longer contains it`)
  }

  async #removeGone(names: ReadonlySet<string>): Promise<void> {
    await this.#remove((file) => !names.has(file.path), 'its file was removed')
    for (const { folder, path } of [...this.#book.table.refused.values()])
      if (folder === this.#label && !names.has(path)) await this.#clear(path)
  }

  /** Remove rules whose last change came from this folder. */
  async #remove(which: (file: { readonly path: string }, name: string) => boolean, reason: string): Promise<void> {
    await this.#book.load()
    for (const { name, change } of [...this.#book.table.all()]) {
      if (change.file?.folder !== this.#label || !which(change.file, name)) continue
      // Without a digest: the same file, put back, adds the rule again.
      await this.#book.remove(name, { author: 'folder', reason, file: { ...change.file, digest: '' } })
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#watcher?.close()
    if (this.#timer !== null) clearInterval(this.#timer)
    if (this.#soon !== null) clearTimeout(this.#soon)
    await this.#scanning
  }
}
