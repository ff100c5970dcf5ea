/**
 * Formats numbers and texts for people. Event data may be hostile: `plain` makes invisible and direction-changing
 * characters visible.
 */

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

export function count(value: number): string {
  return Math.abs(value) < 10_000 ? whole.format(value) : short.format(value)
}

export function exact(value: number): string {
  return whole.format(value)
}

/** `1 attempt`, `2 attempts`. */
export function numbered(value: number, noun: string): string {
  return `${exact(value)} ${noun}${value === 1 ? '' : 's'}`
}

export function rate(value: number): string {
  if (value === 0) return '0/s'
  if (value < 0.05) return '<0.1/s'
  return value < 10 ? `${value.toFixed(1)}/s` : `${count(value)}/s`
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return 'unknown'
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let amount = value
  let unit = 0
  for (; amount >= 1024 && unit < units.length - 1; unit++) amount /= 1024
  return `${amount < 10 && unit > 0 ? amount.toFixed(1) : Math.round(amount)} ${units[unit]}`
}

export function span(ms: number): string {
  if (ms < 1000) return ms === 0 ? '0 s' : `${Math.round(ms)} ms`
  const seconds = ms / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 120) return `${Math.round(seconds)} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`
  return `${Math.round(seconds / 86_400)} d`
}

export function ago(atMs: number, nowMs: number = Date.now()): string {
  const past = nowMs - atMs
  return past < 1500 ? 'now' : `${span(past)} ago`
}

export function clock(at: string | number | undefined): string {
  if (at === undefined) return ''
  const date = new Date(at)
  if (Number.isNaN(date.getTime())) return plain(String(at), 40)
  const time = date.toLocaleTimeString('en-GB')
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString('en-CA')} ${time}`
}

/** Control, zero-width and direction characters, and lone surrogates. They must not change how the page reads. */
const UNSEEN = /(?![\n\r\t])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu

export function plain(text: string, most = 2000): string {
  const part = text.length > most ? `${text.slice(0, most)}… (${exact(text.length)} characters)` : text
  return part.replace(UNSEEN, (one) => `⟨U+${(one.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}⟩`)
}

/** A value in one line. */
export function brief(value: unknown, most = 160): string {
  if (value === undefined) return ''
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
  return plain(text.slice(0, most * 4), most).replace(/\s+/g, ' ')
}
