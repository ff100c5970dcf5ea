/** The input of one value: a choice, a number, a text, a date, true or false, or JSON. */
import { type ReactNode, useState } from 'react'
import { plain } from '../parts/format.ts'
import type { Kind, Schema } from './schema.ts'

interface InputProps {
  readonly id: string
  readonly kind: Kind
  readonly schema: Schema
  readonly value: unknown
  readonly change: (value: unknown) => void
}

const INPUT_TYPES: Readonly<Record<string, string>> = { email: 'email', date: 'date', uri: 'url' }

export function FieldInput(props: InputProps): ReactNode {
  const { id, kind, schema, value, change } = props
  switch (kind) {
    case 'constant':
      return (
        <input
          id={id}
          value={typeof schema.const === 'string' ? schema.const : JSON.stringify(schema.const)}
          readOnly
        />
      )
    case 'choice':
      return <Choice {...props} />
    case 'boolean':
      return (
        <input id={id} type="checkbox" checked={value === true} onChange={({ target }) => change(target.checked)} />
      )
    case 'number':
    case 'integer':
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
    case 'text':
      return (
        <input
          id={id}
          type={INPUT_TYPES[schema.format ?? ''] ?? 'text'}
          maxLength={schema.maxLength}
          value={typeof value === 'string' ? value : ''}
          onChange={({ target }) => change(target.value)}
        />
      )
    default:
      return <JsonInput {...props} />
  }
}

function Choice({ id, schema, value, change }: InputProps): ReactNode {
  const choices = schema.enum ?? []
  const now = JSON.stringify(value)
  const known = choices.some((one) => JSON.stringify(one) === now)
  return (
    <select id={id} value={known ? now : ''} onChange={({ target }) => change(JSON.parse(target.value) as unknown)}>
      {!known && <option value="">Choose one</option>}
      {choices.map((one) => (
        <option key={JSON.stringify(one)} value={JSON.stringify(one)}>
          {plain(String(one), 80)}
        </option>
      ))}
    </select>
  )
}

/** Text that is not JSON yet stays in the field, and the value stays as it was. */
function JsonInput({ id, value, change }: InputProps): ReactNode {
  const [text, setText] = useState<string | null>(null)
  const typed = (next: string): void => {
    try {
      change(JSON.parse(next) as unknown)
      setText(null)
    } catch {
      setText(next)
    }
  }
  return (
    <>
      <textarea
        id={id}
        rows={2}
        spellCheck={false}
        value={text ?? JSON.stringify(value) ?? ''}
        onChange={({ target }) => typed(target.value)}
      />
      {text !== null && <span className="bad">This is not JSON.</span>}
    </>
  )
}
