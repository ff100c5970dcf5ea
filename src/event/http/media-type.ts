/** What a Content-Type says about a CloudEvent: its content mode, and whether the data is JSON or text. */

export const STRUCTURED = 'application/cloudevents+json'
export const BATCHED = 'application/cloudevents-batch+json'

/** How an HTTP message carries events. `foreign`: a CloudEvents format other than JSON. `none`: no CloudEvent. */
export type ContentMode = 'binary' | 'structured' | 'batched' | 'foreign' | 'none'

/** The media type in lower case, without its parameters. */
export function essenceOf(contentType: string): string {
  const end = contentType.indexOf(';')
  return (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase()
}

/** The charset parameter in lower case, if there is one. */
export function charsetOf(contentType: string): string | undefined {
  return /;\s*charset\s*=\s*"?([^\s";]+)/i.exec(contentType)?.[1]?.toLowerCase()
}

/** Whether data of this type is JSON: `application/json`, `text/json`, every `+json`, and no type at all. */
export function isJson(contentType: string | undefined): boolean {
  if (contentType === undefined) return true
  const essence = essenceOf(contentType)
  return essence.endsWith('/json') || essence.endsWith('+json')
}

/** Whether bytes of this type are text that a JSON string can hold without loss. */
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

/** The content mode of a message, by its headers alone. */
export function contentModeOf(contentType: string | undefined, hasAttributes: boolean): ContentMode {
  const essence = contentType === undefined ? '' : essenceOf(contentType)
  if (essence === STRUCTURED) return 'structured'
  if (essence === BATCHED) return 'batched'
  if (essence.startsWith('application/cloudevents')) return 'foreign'
  return hasAttributes ? 'binary' : 'none'
}
