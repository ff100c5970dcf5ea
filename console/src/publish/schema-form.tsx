/**
 * A form for a JSON Schema: objects, texts, numbers, choices, booleans. Anything else is edited as JSON beside the
 * form.
 */
import { type ReactNode, useId } from 'react'
import { plain } from '../parts/format.ts'

export interface Schema {
  readonly type?: string | readonly string[]
  readonly title?: string
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly default?: unknown
  readonly format?: string
  readonly minimum?: number
  readonly maximum?: number
}

const DEPTH_MAX = 4
const FIELDS_MAX = 60

function kindOf({ type, enum: choices, properties }: Schema): string {
  if (choices !== undefined) return 'choice'
  const [first] = [type].flat()
  return first ?? (properties === undefined ? 'other' : 'object')
}

/** A schema that describes a given value: for a form where no schema is known. */
export function schemaOf(value: unknown, depth = 0): Schema {
  if (typeof value === 'string') return { type: 'string' }
  if (typeof value === 'number') return { type: 'number' }
  if (typeof value === 'boolean') return { type: 'boolean' }
  if (typeof value !== 'object' || value === null || Array.isArray(value) || depth >= DEPTH_MAX) return {}
  const properties = Object.entries(value).map(([name, member]) => [name, schemaOf(member, depth + 1)] as const)
  return { type: 'object', properties: Object.fromEntries(properties) }
}

export function exampleOf(schema: Schema, depth = 0): unknown {
  if (schema.default !== undefined) return schema.default
  if (schema.const !== undefined) return schema.const
  switch (kindOf(schema)) {
    case 'choice':
      return schema.enum?.[0]
    case 'string':
      return ''
    case 'number':
    case 'integer':
      return schema.minimum ?? 0
    case 'boolean':
      return false
    case 'array':
      return []
    case 'object':
      if (depth >= DEPTH_MAX) return {}
      return Object.fromEntries(
        Object.entries(schema.properties ?? {})
          .filter(([name]) => schema.required?.includes(name) ?? true)
          .map(([name, member]) => [name, exampleOf(member, depth + 1)]),
      )
    default:
      return null
  }
}

interface FieldProps {
  readonly schema: Schema
  readonly value: unknown
  readonly change: (value: unknown) => void
}

export function SchemaForm({ schema, value, change }: FieldProps): ReactNode {
  return <Members schema={schema} value={value} change={change} depth={0} />
}

function Members({ schema, value, change, depth }: FieldProps & { readonly depth: number }): ReactNode {
  const members = typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
  return Object.entries(schema.properties ?? {})
    .slice(0, FIELDS_MAX)
    .map(([name, member]) => (
      <Field
        key={name}
        name={name}
        required={schema.required?.includes(name) === true}
        schema={member}
        value={members[name]}
        depth={depth}
        change={(next) => change({ ...members, [name]: next })}
      />
    ))
}

function Field({
  name,
  required,
  schema,
  value,
  change,
  depth,
}: FieldProps & { readonly name: string; readonly required: boolean; readonly depth: number }): ReactNode {
  const id = useId()
  const kind = kindOf(schema)
  const label = `${schema.title ?? name}${required ? ' *' : ''}`
  if (kind === 'object' && depth < DEPTH_MAX)
    return (
      <fieldset>
        <legend>{plain(label, 80)}</legend>
        <Members schema={schema} value={value} change={change} depth={depth + 1} />
      </fieldset>
    )
  if (kind === 'boolean')
    return (
      <label className="row">
        <input type="checkbox" checked={value === true} onChange={({ target }) => change(target.checked)} />
        {plain(label, 80)}
      </label>
    )
  return (
    <div className="field">
      <label htmlFor={id}>{plain(label, 80)}</label>
      <Input id={id} kind={kind} schema={schema} value={value} change={change} />
      {schema.description !== undefined && <span className="muted">{plain(schema.description, 200)}</span>}
    </div>
  )
}

function Input({
  id,
  kind,
  schema,
  value,
  change,
}: FieldProps & { readonly id: string; readonly kind: string }): ReactNode {
  if (kind === 'choice')
    return (
      <select
        id={id}
        value={JSON.stringify(value)}
        onChange={({ target }) => change(JSON.parse(target.value) as unknown)}
      >
        {(schema.enum ?? []).map((one) => (
          <option key={JSON.stringify(one)} value={JSON.stringify(one)}>
            {plain(String(one), 80)}
          </option>
        ))}
      </select>
    )
  if (kind === 'number' || kind === 'integer')
    return (
      <input
        id={id}
        type="number"
        step={kind === 'integer' ? 1 : 'any'}
        min={schema.minimum}
        max={schema.maximum}
        value={typeof value === 'number' ? value : ''}
        onChange={({ target }) => change(target.value === '' ? undefined : Number(target.value))}
      />
    )
  if (kind === 'string')
    return (
      <input id={id} value={typeof value === 'string' ? value : ''} onChange={({ target }) => change(target.value)} />
    )
  return (
    <span id={id} className="muted">
      edited as JSON beside the form
    </span>
  )
}
