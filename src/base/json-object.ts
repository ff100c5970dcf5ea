/** Parses JSON text from outside: from a socket, a file or a server's stream, even if Millrace wrote it. */

export type JsonObject = Readonly<Record<string, unknown>>

/** The object of a JSON text; null if the text is not JSON or is another value. */
export function jsonObject(text: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(text)
    return isJsonObject(value) ? value : null
  } catch {
    return null
  }
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A finite number of at least `min`. */
export function isNumberFrom(value: unknown, min: number): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= min
}
