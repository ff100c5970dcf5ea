/**
 * Parses the texts of templates.
 *
 * `{{ data.items[0].sku | default "none" | upper }}` is a path or a literal, then functions whose arguments are
 * literals. A name in a path is a word; other names are written `["like this"]`. `{{ "{{" }}` writes two braces.
 */
import { refuseRule } from '../rule-error.ts'
import { TEMPLATE_FUNCTIONS, type TemplateFunction } from './template-functions.ts'
import type { TemplateValue } from './template-value.ts'

export interface Call {
  readonly name: string
  readonly apply: TemplateFunction['apply']
  readonly seesMissing: boolean
  readonly args: readonly TemplateValue[]
}

export interface Expression {
  /** `null` if the expression begins with a literal. */
  readonly path: readonly string[] | null
  readonly literal: TemplateValue
  readonly calls: readonly Call[]
}

export type Segment = string | Expression

/** The names that may follow `$` in a path. */
export const FACTS: readonly string[] = ['channel', 'offset', 'key', 'rule']

const SPACE = /[ \t\r\n]*/y
const WORD = /[A-Za-z_][A-Za-z0-9_-]*/y
const INDEX = /\[(-?(?:0|[1-9]\d{0,9}))\]/y
const FACT = /\$([a-z]+)/y
const STRING = /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/y
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const KEYWORD = /(?:true|false|null)(?![A-Za-z0-9_.[-])/y

class Reader {
  readonly #text: string
  readonly #path: string
  at: number

  constructor(text: string, at: number, path: string) {
    this.#text = text
    this.at = at
    this.#path = path
  }

  take(form: RegExp): RegExpExecArray | null {
    form.lastIndex = this.at
    const match = form.exec(this.#text)
    if (match !== null) this.at = form.lastIndex
    return match
  }

  takes(text: string): boolean {
    if (!this.#text.startsWith(text, this.at)) return false
    this.at += text.length
    return true
  }

  fail(reason: string): never {
    const found = this.#text.slice(this.at, this.at + 20)
    return refuseRule(
      this.#path,
      `${reason}, at character ${this.at + 1}${found === '' ? ' (its end)' : ` (${JSON.stringify(found)})`}`,
    )
  }
}

/** The texts and expressions of a template, in order. @throws INVALID_RULE */
export function parseText(text: string, path: string): readonly Segment[] {
  const segments: Segment[] = []
  let at = 0
  for (;;) {
    const open = text.indexOf('{{', at)
    if (open < 0) break
    if (open > at) segments.push(text.slice(at, open))
    const reader = new Reader(text, open + 2, path)
    segments.push(expression(reader))
    at = reader.at
  }
  if (at < text.length || segments.length === 0) segments.push(text.slice(at))
  return segments
}

function expression(reader: Reader): Expression {
  reader.take(SPACE)
  const literal = literalAt(reader)
  const path = literal === undefined ? pathAt(reader) : null
  const calls: Call[] = []
  for (;;) {
    reader.take(SPACE)
    if (reader.takes('}}')) return { path, literal: literal?.value, calls }
    if (!reader.takes('|')) return reader.fail('"|" and a function, or "}}", are expected')
    reader.take(SPACE)
    calls.push(callAt(reader))
  }
}

function pathAt(reader: Reader): readonly string[] {
  const fact = reader.take(FACT)?.[1]
  if (fact !== undefined && !FACTS.includes(fact))
    return reader.fail(`there is no $${fact}; there are ${FACTS.map((name) => `$${name}`).join(', ')}`)
  const first = fact === undefined ? reader.take(WORD)?.[0] : `$${fact}`
  if (first === undefined) return reader.fail('a path such as data.sku, or a literal, is expected')
  const path = [first]
  for (;;) {
    const index = reader.take(INDEX)?.[1]
    if (index !== undefined) path.push(index)
    else if (reader.takes('[')) {
      const name = reader.take(STRING)?.[0]
      if (name === undefined || !reader.takes(']'))
        return reader.fail('a number or a name in quotes, and "]", are expected')
      path.push(unquoted(name, reader))
    } else if (reader.takes('.')) {
      const name = reader.take(WORD)?.[0]
      if (name === undefined) return reader.fail('a name is expected after the dot; write other names as ["a name"]')
      path.push(name)
    } else return path
  }
}

function callAt(reader: Reader): Call {
  const name = reader.take(WORD)?.[0]
  if (name === undefined) return reader.fail('the name of a function is expected')
  const known = Object.hasOwn(TEMPLATE_FUNCTIONS, name) ? TEMPLATE_FUNCTIONS[name] : undefined
  if (known === undefined)
    return reader.fail(`there is no function "${name}"; there are ${Object.keys(TEMPLATE_FUNCTIONS).join(', ')}`)
  const args: TemplateValue[] = []
  for (;;) {
    reader.take(SPACE)
    const literal = literalAt(reader)
    if (literal === undefined) break
    args.push(literal.value)
  }
  const [least, most] = known.takes
  if (args.length < least || args.length > most) {
    return reader.fail(
      `"${name}" takes ${least === most ? least : `${least} or ${most}`} argument${most === 1 ? '' : 's'}, not ${args.length}`,
    )
  }
  return { name, apply: known.apply, seesMissing: known.seesMissing === true, args }
}

function literalAt(reader: Reader): { readonly value: TemplateValue } | undefined {
  const text = reader.take(STRING)?.[0]
  if (text !== undefined) return { value: unquoted(text, reader) }
  const keyword = reader.take(KEYWORD)?.[0]
  if (keyword !== undefined) return { value: keyword === 'null' ? null : keyword === 'true' }
  const number = reader.take(NUMBER)?.[0]
  return number === undefined ? undefined : { value: Number(number) }
}

/** The text between the quotes. Escapes are those of JSON, and `\'`. */
function unquoted(quoted: string, reader: Reader): string {
  const inner = quoted.slice(1, -1)
  try {
    return JSON.parse(`"${quoted.startsWith("'") ? inner.replaceAll(/\\.|"/g, requoted) : inner}"`) as string
  } catch {
    return reader.fail(`${quoted} has an escape that JSON does not allow`)
  }
}

function requoted(found: string): string {
  if (found === "\\'") return "'"
  return found === '"' ? '\\"' : found
}
