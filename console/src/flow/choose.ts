/**
 * Chooses the parts of the flow to show: by search, only problems, two steps around one part, or grouped by the first
 * word of the name. Pure.
 */
import type { FlowLine, FlowPart, PartKind } from '../api/types.ts'

export interface Choice {
  readonly search: string
  /** Show only these parts and their neighbours; null for all parts. */
  readonly troubled: ReadonlySet<string> | null
  /** Show only the surroundings of this part; empty for all parts. */
  readonly around: string
  readonly grouped: boolean
}

/** A part, or several parts of one kind and prefix as one. */
export interface ShownPart extends FlowPart {
  readonly members: readonly string[]
}

export interface Shown {
  readonly parts: readonly ShownPart[]
  /** `ids` are the lines that are drawn as one line. */
  readonly lines: readonly (FlowLine & { readonly ids: readonly string[] })[]
}

/** Above this number of parts they are grouped, unless the reader chose otherwise. */
export const GROUP_ABOVE = 60
const GROUP_LEAST = 3

export function choose(parts: readonly FlowPart[], lines: readonly FlowLine[], choice: Choice): Shown {
  let kept = new Set(parts.map(({ id }) => id))
  if (choice.around !== '') kept = within(new Set([choice.around]), lines, 2)
  if (choice.troubled !== null) kept = both(kept, within(choice.troubled, lines, 1))
  if (choice.search !== '') {
    const words = choice.search.toLowerCase()
    const found = parts.filter(({ name }) => name.toLowerCase().includes(words)).map(({ id }) => id)
    kept = both(kept, within(new Set(found), lines, 1))
  }
  const shown = parts.filter(({ id }) => kept.has(id))
  const drawn = lines.filter(({ from, to }) => kept.has(from) && kept.has(to))
  return choice.grouped
    ? grouped(shown, drawn)
    : {
        parts: shown.map((part) => ({ ...part, members: [part.id] })),
        lines: drawn.map((line) => ({ ...line, ids: [line.id] })),
      }
}

function both(one: ReadonlySet<string>, other: ReadonlySet<string>): Set<string> {
  return new Set([...one].filter((id) => other.has(id)))
}

/** Everything that is up to `steps` lines away. */
function within(from: ReadonlySet<string>, lines: readonly FlowLine[], steps: number): Set<string> {
  const reached = new Set(from)
  for (let step = 0; step < steps; step++) {
    const before = new Set(reached)
    for (const { from: one, to: other } of lines) {
      if (before.has(one)) reached.add(other)
      if (before.has(other)) reached.add(one)
    }
  }
  return reached
}

function prefixOf({ kind, name }: FlowPart): string {
  const words = kind === 'source' ? name.replace(/^\/+|^\w+:\/\//, '').split(/[/.]/) : name.split(/[.-]/)
  return words[0] === '' || words[0] === undefined ? name : words[0]
}

function grouped(parts: readonly FlowPart[], lines: readonly FlowLine[]): Shown {
  const groups = new Map<string, FlowPart[]>()
  for (const part of parts) {
    const key = `${part.kind}:${prefixOf(part)}`
    groups.set(key, [...(groups.get(key) ?? []), part])
  }
  const homeOf = new Map<string, string>()
  const shown = [...groups].flatMap(([key, its]): ShownPart[] => {
    const [first] = its
    if (first === undefined) return []
    if (its.length < GROUP_LEAST) return its.map((part) => ({ ...part, members: [part.id] }))
    const id = `group:${key}`
    for (const part of its) homeOf.set(part.id, id)
    return [
      {
        id,
        kind: first.kind,
        name: `${prefixOf(first)}.*`,
        detail: `${its.length}`,
        members: its.map((part) => part.id),
      },
    ]
  })
  const joined = new Map<string, Shown['lines'][number]>()
  for (const line of lines) {
    const [from, to] = [homeOf.get(line.from) ?? line.from, homeOf.get(line.to) ?? line.to]
    const id = `${from}>${to}`
    const known = joined.get(id)
    joined.set(id, {
      id,
      from,
      to,
      certain: line.certain || known?.certain === true,
      ids: [...(known?.ids ?? []), line.id],
    })
  }
  return { parts: shown, lines: [...joined.values()] }
}

export const KIND_WORDS: Readonly<Record<PartKind, string>> = {
  source: 'Source',
  channel: 'Channel',
  consumer: 'Consumer',
  rule: 'Rule',
  target: 'Server',
}
