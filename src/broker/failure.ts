/** Why an attempt failed, as it is kept with the event. */
export interface Failure {
  readonly name: string
  readonly message: string
  readonly stack?: string
  /** `MillraceError` code or the error's own `code`. */
  readonly code?: string
  /** `poison`: no attempt can help (undecodable, wrong schema). */
  readonly kind: 'error' | 'rejected' | 'poison' | 'timeout' | 'crash'
}
