/** What a Content-Type says of a CloudEvent: its content mode, and whether the data is JSON or text. */

export const STRUCTURED = 'application/cloudevents+json'
export const BATCHED = 'application/cloudevents-batch+json'

/** How an HTTP message carries events. `foreign`: a CloudEvents format other than JSON. `none`: no CloudEvent. */
export type ContentMode = 'binary' | 'structured' | 'batched' | 'foreign' | 'none'

/** The media type without its parameters, in lower case. */
export function essenceOf(contentType: string): string {
  const end = contentType.indexOf(';')
  return (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase()
}

/** The charset parameter in lower case, if there is one. */
export function charsetOf(contentType: string): string | undefined {
  return /;\s*charset\s*=\s*"?([^\s";]+)/i.exec(contentType)?.[1]?.toLowerCase()
}

/** `application/json`, `text/json` and every `+json`. Without a type the data of an event in JSON is JSON. */
export function isJson(contentType: string | undefined): boolean {
  if (contentType === undefined) return true
  const essence = essenceOf(contentType)
  return essence.endsWith('/json') || essence.endsWith('+json')
}

/** Whether bytes of this type are text that a JSON string can carry without loss. */
export function isUtf8Text(contentType: string): boolean {
  const charset = charsetOf(contentType)
  if (charset !== undefined) return charset === 'utf-8' || charset === 'utf8' || charset === 'us-ascii'
  const essence = essenceOf(contentType)
  return (
    essence.startsWith('text/') ||
    essence === 'application/xml' ||
    essence.endsWith('+xml') ||
    essence.endsWith('+yaml') ||
    essence === 'application/yaml'
  )
}

/** How a message carries events, by its headers alone. */
export function contentModeOf(contentType: string | undefined, hasAttributes: boolean): ContentMode {
  const essence = contentType === undefined ? '' : essenceOf(contentType)
  if (essence === STRUCTURED) return 'structured'
  if (essence === BATCHED) return 'batched'
  if (essence.startsWith('application/cloudevents')) return 'foreign'
  return hasAttributes ? 'binary' : 'none'
}
