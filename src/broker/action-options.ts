/** The options that say why somebody acts on a channel or a consumer, and who does. */

/** Why somebody acts on a channel or a consumer, and who does. */
export interface ActionOptions {
  /**
   * Why: up to 1,000 characters. With it, or with `by`, the action is recorded in the channel `$audit`; a pause only
   * with `by`. @default none
   */
  readonly reason?: string
  /** Who acts: up to 1,000 characters. A `ws:` server takes the name of the credentials. @default 'code' */
  readonly by?: string
}

export const ACTION_MEMBERS = ['reason', 'by'] as const
