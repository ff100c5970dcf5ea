/** Credentials in the URL of a broker. */
import { MillraceError } from '../base/errors.ts'

/**
 * Decodes a user, password or token of a URL. The error never shows it. @throws INVALID_OPTION when it is not
 * percent-encoded
 */
export function decodedSecret(encoded: string, of: string): string {
  try {
    return decodeURIComponent(encoded)
  } catch {
    throw new MillraceError(
      'INVALID_OPTION',
      `${of} has credentials that are not percent-encoded: encode every character that is not a letter or digit`,
      {
        option: 'url',
      },
    )
  }
}

/** User and password before a host, `user:password`. A password may hold further colons. */
export function credentialsIn(
  text: string,
  of: string,
): { readonly user: string; readonly password: string | undefined } {
  const colon = text.indexOf(':')
  if (colon < 0) return { user: decodedSecret(text, of), password: undefined }
  return { user: decodedSecret(text.slice(0, colon), of), password: decodedSecret(text.slice(colon + 1), of) }
}
