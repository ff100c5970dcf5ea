/**
 * Templates: JSON whose texts may hold `{{ path | function argument … }}`.
 *
 * A text that consists of one such expression becomes its value, with its JSON type. In a longer text the value is
 * written as text. If a path is missing, a member of an object is left out, an element of an array becomes null, and in
 * a text nothing is written. Only these expressions are evaluated, and only own members of an event are read.
 */
import { LIMITS } from '../../base/limits.ts'
import { isRecord, refuseRule, shown } from '../rule-error.ts'
import { parseText, type Segment } from './template-parser.ts'
import { asText, MISSING, stepInto, TemplateFailure, type TemplateValue } from './template-value.ts'

/** The values at which paths begin. */
export interface TemplateScope {
  /** The CloudEvent: its attributes and `data`. */
  readonly event: object
  /** `$channel`, `$offset`, `$key`, `$rule`. */
  readonly facts: Readonly<Record<string, unknown>>
}

export interface Template {
  render(scope: TemplateScope): TemplateValue
}

/** A template that renders to a text, or to `undefined` if the text would be empty. */
export interface TextTemplate {
  render(scope: TemplateScope): string | undefined
  /** The text itself, if it contains no expression. */
  readonly fixed: string | undefined
  /** The text before the first expression. */
  readonly head: string
}

/** Compiles a template: JSON with expressions in its texts. @throws INVALID_RULE when it is malformed or too large */
export function compileTemplate(source: unknown, path: string): Template {
  return { render: compileValue(source, path, { expressions: 0 }, 0) }
}

type Render = (scope: TemplateScope) => TemplateValue

function compileValue(source: unknown, path: string, count: { expressions: number }, depth: number): Render {
  if (depth > LIMITS.dataDepthMax) return refuseRule(path, `it nests deeper than ${LIMITS.dataDepthMax} levels`)
  if (typeof source === 'string') return compileText(segmentsOf(source, path, count))
  if (Array.isArray(source)) {
    const elements = source.map((each, index) => compileValue(each, `${path}[${index}]`, count, depth + 1))
    return (scope) => elements.map((element) => nullIfMissing(element(scope)))
  }
  if (isRecord(source)) {
    const members = Object.entries(source).map(
      ([name, value]) => [name, compileValue(value, `${path}.${name}`, count, depth + 1)] as const,
    )
    return (scope) =>
      Object.fromEntries(
        members.map(([name, member]) => [name, member(scope)] as const).filter(([, value]) => value !== MISSING),
      )
  }
  if (source === null || typeof source === 'boolean' || (typeof source === 'number' && Number.isFinite(source)))
    return () => source
  return refuseRule(path, `${shown(source)} is not JSON`)
}

function nullIfMissing(value: TemplateValue): TemplateValue {
  return value === MISSING ? null : value
}

function segmentsOf(source: string, path: string, count: { expressions: number }): readonly Segment[] {
  if (source.length > LIMITS.templateCharsMax)
    refuseRule(path, `a text of a template has at most ${LIMITS.templateCharsMax} characters`)
  const segments = parseText(source, path)
  count.expressions += segments.filter((segment) => typeof segment !== 'string').length
  if (count.expressions > LIMITS.templateExpressionsMax)
    refuseRule(path, `a template has at most ${LIMITS.templateExpressionsMax} expressions`)
  return segments
}

function compileText(segments: readonly Segment[]): Render {
  const [only] = segments
  if (segments.length === 1 && only !== undefined && typeof only !== 'string') return (scope) => evaluate(only, scope)
  return (scope) => written(segments, scope, (text) => text)
}

function written(segments: readonly Segment[], scope: TemplateScope, encode: (text: string) => string): string {
  let text = ''
  for (const segment of segments) {
    text += typeof segment === 'string' ? segment : encode(asText(evaluate(segment, scope)))
    if (text.length > LIMITS.templateTextCharsMax)
      throw new TemplateFailure(`the template would make a text of more than ${LIMITS.templateTextCharsMax} characters`)
  }
  return text
}

function evaluate(segment: Exclude<Segment, string>, { event, facts }: TemplateScope): TemplateValue {
  let value: TemplateValue
  if (segment.path === null) value = segment.literal
  else {
    const [first = '', ...rest] = segment.path
    value = first.startsWith('$') ? (facts[first.slice(1)] ?? MISSING) : stepInto(event, first)
    if (first === 'data' && value instanceof Uint8Array)
      value = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')
    for (const name of rest) value = stepInto(value, name)
  }
  for (const { name, apply, args, seesMissing } of segment.calls) {
    if (value !== MISSING || seesMissing) value = apply(value, args, name)
  }
  return value
}

/** Compiles a template that is one text. @throws INVALID_RULE when it is malformed or too large */
export function compileTextTemplate(
  source: unknown,
  path: string,
  encode: (text: string) => string = (text) => text,
): TextTemplate {
  if (typeof source !== 'string' || source === '') return refuseRule(path, `a text is needed, not ${shown(source)}`)
  const segments = segmentsOf(source, path, { expressions: 0 })
  const [first = ''] = segments
  return {
    fixed: segments.every((segment) => typeof segment === 'string') ? segments.join('') : undefined,
    head: typeof first === 'string' ? first : '',
    render: (scope) => {
      const text = written(segments, scope, encode)
      return text === '' ? undefined : text
    },
  }
}
