/** Tokens as credentials: looked up by their hash, in a file that is read again when it changes. */
import { statSync } from 'node:fs'
import type { CredentialCheck } from './authenticator.ts'
import { type Principal, principalOf } from './principal.ts'
import { hashOf, readTokens, type TokenEntry } from './token-file.ts'

const LOOK_EVERY_MS = 1000

export class TokenCheck implements CredentialCheck {
  readonly #path: string
  readonly #report: (error: unknown) => void
  #principals: ReadonlyMap<string, Principal>
  #version = ''
  #lookedAtMs: number

  /** @throws INVALID_OPTION when the file is no file of tokens */
  constructor(path: string, report: (error: unknown) => void) {
    this.#path = path
    this.#report = report
    this.#version = this.#stat()
    this.#principals = this.#load()
    this.#lookedAtMs = performance.now()
  }

  verify(credential: string): Principal | null {
    this.#look()
    const found = this.#principals.get(hashOf(credential))
    return found?.holds() === true ? found : null
  }

  /** A file that cannot be read any more holds no tokens. */
  #look(): void {
    const now = performance.now()
    if (now - this.#lookedAtMs < LOOK_EVERY_MS) return
    this.#lookedAtMs = now
    const version = this.#stat()
    if (version === this.#version) return
    this.#version = version
    try {
      this.#principals = this.#load()
    } catch (error) {
      this.#principals = new Map()
      this.#report(new Error('the tokens cannot be read any more: none holds', { cause: error }))
    }
  }

  #stat(): string {
    const found = statSync(this.#path, { throwIfNoEntry: false })
    return found === undefined ? '' : `${found.ino}:${found.mtimeMs}:${found.size}`
  }

  #load(): ReadonlyMap<string, Principal> {
    return new Map(readTokens(this.#path).map((entry) => [entry.sha256, this.#principal(entry)]))
  }

  #principal(entry: TokenEntry): Principal {
    return principalOf({
      name: entry.id,
      kind: 'token',
      permissions: entry.permissions,
      ...(entry.limits !== undefined && { limits: entry.limits }),
      expiresAtMs: entry.expiresAt === undefined ? null : Date.parse(entry.expiresAt),
      stillHolds: () => {
        this.#look()
        return this.#principals.has(entry.sha256)
      },
    })
  }
}
