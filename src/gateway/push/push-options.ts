/** How a gateway pushes, as it is configured. */
import { hostname } from 'node:os'
import { MillraceError } from '../../base/errors.ts'
import { knownOptions } from '../../base/units.ts'
import { addressGuard } from '../../outbound/public-address.ts'
import { isDnsName } from '../webhook-handshake.ts'
import type { PushSettings } from './push-part.ts'

export interface PushOptions {
  /** Addresses and blocks, such as `10.1.0.0/16`, that events may be posted to though they are not public. @default none */
  readonly allow?: readonly string[]
  /** The DNS name that this system asks subscribers as, in the webhook handshake. @default the machine's name */
  readonly origin?: string
  /** Ask every subscriber first, and keep no subscription that it does not grant. @default false: those that say so */
  readonly handshake?: boolean
}

/** @throws INVALID_OPTION */
export function pushSettingsOf(options: PushOptions): Omit<PushSettings, 'drainMs'> {
  knownOptions(options, ['allow', 'origin', 'handshake'], 'push')
  const { allow = [], origin = hostname(), handshake = false } = options
  if (options.origin !== undefined && !isDnsName(origin)) {
    throw new MillraceError('INVALID_OPTION', `push.origin must be a DNS name; it is ${String(origin).slice(0, 60)}`, {
      option: 'push.origin',
    })
  }
  if (typeof handshake !== 'boolean')
    throw new MillraceError('INVALID_OPTION', 'push.handshake must be true or false', { option: 'push.handshake' })
  return { guard: addressGuard(allow, 'push.allow'), origin, handshake }
}
