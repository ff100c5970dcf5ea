/** Tokens as credentials: found by their hash in a file, which is read again when it changes. */
import { statSync } from 'node:fs'
import { LIMITS } from '../../base/limits.ts'
import type { CredentialCheck } from './authenticator.ts'
import { type Principal, principalOf } from './principal.ts'
import { hashOf, readTokens, type TokenEntry } from './token-file.ts'

/** A token's principal, and the text of its entry in the file. */
interface KnownToken {
  readonly form: string
  readonly principal: Principal
}

export class TokenCheck implements CredentialCheck {
  readonly #path: string
  readonly #report: (error: unknown) => void
  #known: ReadonlyMap<string, KnownToken> = new Map()
  #version = ''
  #lookedAtMs: number

  /** @throws INVALID_OPTION when the file is not a file of tokens */
  constructor(path: string, report: (error: unknown) => void) {
    this.#path = path
    this.#report = report
    this.#version = this.#stat()
    this.#known = this.#load()
    this.#lookedAtMs = performance.now()
  }

  verify(credential: string): Principal | null {
    this.#look()
    const found = this.#known.get(hashOf(credential))?.principal
    return found?.holds() === true ? found : null
  }

  /** Read the file again if it changed. A file that can no longer be read counts as having no tokens. */
  #look(): void {
    const now = performance.now()
    if (now - this.#lookedAtMs < LIMITS.gatewayCredentialsMs) return
    this.#lookedAtMs = now
    const version = this.#stat()
    if (version === this.#version) return
    this.#version = version
    try {
      this.#known = this.#load()
    } catch (error) {
      this.#known = new Map()
      this.#report(new Error('the tokens can no longer be read: none is valid', { cause: error }))
    }
  }

  #stat(): string {
    const found = statSync(this.#path, { throwIfNoEntry: false })
    return found === undefined ? '' : `${found.ino}:${found.mtimeMs}:${found.size}`
  }

  /** A token whose entry has changed gets a new principal, so that what is open with the old entry ends. */
  #load(): ReadonlyMap<string, KnownToken> {
    return new Map(
      readTokens(this.#path).map((entry) => {
        const form = JSON.stringify(entry)
        const known = this.#known.get(entry.sha256)
        return [entry.sha256, known?.form === form ? known : { form, principal: this.#principal(entry) }]
      }),
    )
  }

  #principal(entry: TokenEntry): Principal {
    const principal = principalOf({
      name: entry.id,
      kind: 'token',
      permissions: entry.permissions,
      ...(entry.limits !== undefined && { limits: entry.limits }),
      expiresAtMs: entry.expiresAt === undefined ? null : Date.parse(entry.expiresAt),
      stillHolds: () => {
        this.#look()
        return this.#known.get(entry.sha256)?.principal === principal
      },
    })
    return principal
  }
}
