/** The options of a gateway that pushes. */
import { hostname } from 'node:os'
import { MillraceError } from '../../base/errors.ts'
import { knownOptions } from '../../base/units.ts'
import { addressGuard } from '../../outbound/public-address.ts'
import { isDnsName } from '../webhook-handshake.ts'
import type { PushSettings } from './push-service.ts'

export interface PushOptions {
  /**
   * Addresses and blocks that are not public and to which events may be posted, such as `10.1.0.0/16`. @default none
   */
  readonly allow?: readonly string[]
  /** The DNS name as which this system sends, for the webhook handshake. @default the machine's name */
  readonly origin?: string
  /** Require the handshake from every subscriber. @default false: a subscription asks for it */
  readonly handshake?: boolean
}

/** The gateway's options for push, after all checks. @throws INVALID_OPTION when an option is wrong */
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
