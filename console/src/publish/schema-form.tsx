/**
 * A form for a JSON Schema: objects, lists, unions, choices, texts, dates and numbers. Anything else is edited as
 * JSON.
 */
import { createContext, type ReactNode, useContext, useId } from 'react'
import { plain } from '../parts/format.ts'
import { FieldInput } from './field-input.tsx'
import {
  branchAt,
  branchesOf,
  branchName,
  DEPTH_MAX,
  exampleOf,
  kindOf,
  pointer,
  resolved,
  type Schema,
  type SchemaProblem,
} from './schema.ts'

const FIELDS_MAX = 60
const ITEMS_MAX = 50

interface FormContext {
  readonly root: Schema
  readonly problems: readonly SchemaProblem[]
}

const Form = createContext<FormContext>({ root: {}, problems: [] })

interface ValueProps {
  readonly schema: Schema
  readonly value: unknown
  readonly change: (value: unknown) => void
  readonly path: string
  readonly depth: number
}

interface FieldProps extends ValueProps {
  readonly label: string
  /** Takes the member away; null: it is required. */
  readonly remove: (() => void) | null
}

export function SchemaForm({
  schema,
  value,
  problems,
  change,
}: {
  readonly schema: Schema
  readonly value: unknown
  readonly problems: readonly SchemaProblem[]
  readonly change: (value: unknown) => void
}): ReactNode {
  return (
    <Form value={{ root: schema, problems }}>
      <Value schema={schema} value={value} change={change} path="" depth={0} />
      <Faults path="" />
    </Form>
  )
}

/** A value without a label of its own. */
function Value(props: ValueProps): ReactNode {
  const { root } = useContext(Form)
  const schema = resolved(props.schema, root)
  const kind = kindOf(schema)
  if (kind === 'object') return <Members {...props} schema={schema} />
  if (kind === 'array') return <Items {...props} schema={schema} />
  if (kind === 'union') return <Union {...props} schema={schema} />
  return <Field {...props} label="Data" remove={null} />
}

function Members({ schema, value, change, path, depth }: ValueProps): ReactNode {
  const members = recordOf(value)
  const all = Object.entries(schema.properties ?? {})
  const isShown = (name: string): boolean => schema.required?.includes(name) === true || members[name] !== undefined
  const absent = all.filter(([name]) => !isShown(name))
  const set = (name: string, next: unknown): void => change({ ...members, [name]: next })
  const { root } = useContext(Form)
  return (
    <>
      {all
        .filter(([name]) => isShown(name))
        .slice(0, FIELDS_MAX)
        .map(([name, member]) => (
          <Field
            key={name}
            label={`${resolved(member, root).title ?? name}${schema.required?.includes(name) === true ? ' *' : ''}`}
            schema={member}
            value={members[name]}
            path={pointer(path, name)}
            depth={depth + 1}
            change={(next) => set(name, next)}
            remove={schema.required?.includes(name) === true ? null : () => set(name, undefined)}
          />
        ))}
      {all.length > FIELDS_MAX && <p className="muted">Further fields are edited as JSON.</p>}
      {absent.length > 0 && (
        <p className="row wrap">
          {absent.slice(0, FIELDS_MAX).map(([name, member]) => (
            <button key={name} type="button" className="link" onClick={() => set(name, exampleOf(member, root))}>
              + {plain(name, 60)}
            </button>
          ))}
        </p>
      )}
    </>
  )
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : {}
}

function Field(props: FieldProps): ReactNode {
  const { root } = useContext(Form)
  const id = useId()
  const schema = resolved(props.schema, root)
  const kind = kindOf(schema)
  const { label, remove, value, change, path, depth } = props
  const about =
    schema.description === undefined ? null : <span className="muted">{plain(schema.description, 200)}</span>
  if ((kind === 'object' || kind === 'array' || kind === 'union') && depth <= DEPTH_MAX)
    return (
      <fieldset>
        <legend>
          {plain(label, 80)} <Remove label={label} remove={remove} />
        </legend>
        {about}
        <Value schema={schema} value={value} change={change} path={path} depth={depth} />
        <Faults path={path} />
      </fieldset>
    )
  return (
    <div className="field">
      <span className="row">
        <label htmlFor={id}>{plain(label, 80)}</label>
        <Remove label={label} remove={remove} />
      </span>
      <FieldInput id={id} kind={kind} schema={schema} value={value} change={change} />
      {about}
      <Faults path={path} />
    </div>
  )
}

function Remove({ label, remove }: { readonly label: string; readonly remove: (() => void) | null }): ReactNode {
  if (remove === null) return null
  return (
    <button type="button" className="link" onClick={remove} aria-label={`Remove ${plain(label, 80)}`}>
      remove
    </button>
  )
}

function Faults({ path }: { readonly path: string }): ReactNode {
  const { problems } = useContext(Form)
  const its = problems.filter((problem) => problem.path === path)
  return its.length === 0 ? null : <span className="bad">{its.map(({ text }) => plain(text, 200)).join('; ')}</span>
}

function Items({ schema, value, change, path, depth }: ValueProps): ReactNode {
  const { root } = useContext(Form)
  const list = Array.isArray(value) ? (value as readonly unknown[]) : []
  const { prefixItems = [], items, minItems = 0, maxItems = Number.POSITIVE_INFINITY } = schema
  const schemaAt = (index: number): Schema => prefixItems[index] ?? (typeof items === 'object' ? items : {})
  return (
    <>
      {placed(list, path).map(({ item, index, place }) => (
        <Field
          key={place}
          label={`${index + 1}`}
          schema={schemaAt(index)}
          value={item}
          path={place}
          depth={depth + 1}
          change={(next) => change(list.map((other, at) => (at === index ? next : other)))}
          remove={list.length > minItems ? () => change(list.filter((_, at) => at !== index)) : null}
        />
      ))}
      {list.length > ITEMS_MAX && <p className="muted">Further items are edited as JSON.</p>}
      {list.length < maxItems && items !== false && (
        <p>
          <button
            type="button"
            className="link"
            onClick={() => change([...list, exampleOf(schemaAt(list.length), root)])}
          >
            + item
          </button>
        </p>
      )}
    </>
  )
}

/** The items that are shown, each with its place: an item has no other name. */
function placed<Item>(
  items: readonly Item[],
  path: string,
): readonly { readonly item: Item; readonly index: number; readonly place: string }[] {
  return items.slice(0, ITEMS_MAX).map((item, index) => ({ item, index, place: `${path}/${index}` }))
}

function Union({ schema, value, change, path, depth }: ValueProps): ReactNode {
  const { root } = useContext(Form)
  const branches = branchesOf(schema) ?? []
  const at = branchAt(branches, value, root)
  const branch = branches[at] ?? {}
  return (
    <>
      <select
        aria-label="Which of them"
        value={at}
        onChange={({ target }) => change(exampleOf(branches[Number(target.value)] ?? {}, root))}
      >
        {placed(branches, path).map(({ item, index, place }) => (
          <option key={place} value={index}>
            {plain(branchName(item, root), 80)}
          </option>
        ))}
      </select>
      {kindOf(resolved(branch, root)) !== 'null' && (
        <Value schema={branch} value={value} change={change} path={path} depth={depth + 1} />
      )}
    </>
  )
}
