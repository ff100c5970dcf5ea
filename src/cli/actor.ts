/** Who runs the command, and why: for actions that are recorded in `$audit`. */
import { userInfo } from 'node:os'
import type { ActionOptions } from '../broker/action-options.ts'

/** The name of the user who runs the command. */
export function userName(): string {
  try {
    return userInfo().username
  } catch {
    return 'command line'
  }
}

/** Every action of the command line is recorded, also without a reason. */
export function noteOf({ reason }: { readonly reason?: string }): ActionOptions {
  return { by: userName(), ...(reason !== undefined && { reason }) }
}
