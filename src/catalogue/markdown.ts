/**
 * The catalogue as Markdown: an index, a page for each event and a page for each channel. Pure: the same catalogue
 * gives the same pages. Text from events, schemas and rules cannot break a page.
 */
import { isJsonObject, type JsonObject } from '../base/json-object.ts'
import { shown } from '../base/shown.ts'
import type {
  Catalogue,
  CatalogueChannel,
  CatalogueEvent,
  CatalogueProducer,
  CatalogueReader,
  CatalogueSchema,
  SeenExample,
} from './catalogue.ts'
import { FileNames } from './file-names.ts'

/** Rows of the table of a schema's fields; a larger schema is shown as JSON alone. */
const FIELDS_MAX = 200
const DEPTH_MAX = 6

/** The catalogue as Markdown pages, by their paths. */
export function markdownOf(catalogue: Catalogue, title: string): ReadonlyMap<string, string> {
  return new Pages(catalogue).all(title)
}

class Pages {
  readonly #catalogue: Catalogue
  readonly #names = new FileNames()

  constructor(catalogue: Catalogue) {
    this.#catalogue = catalogue
  }

  all(title: string): Map<string, string> {
    const { events, channels } = this.#catalogue
    const pages = new Map([['README.md', this.#index(title)]])
    for (const event of events) pages.set(this.#names.of('events', event.type, 'md'), this.#event(event))
    for (const channel of channels) pages.set(this.#names.of('channels', channel.name, 'md'), this.#channel(channel))
    return pages
  }

  #link(folder: 'events' | 'channels', name: string, from: string): string {
    const known =
      folder === 'events'
        ? this.#catalogue.events.some(({ type }) => type === name)
        : this.#catalogue.channels.some((channel) => channel.name === name)
    return known ? `[${code(name)}](${from}${this.#names.of(folder, name, 'md')})` : code(name)
  }

  #links(folder: 'events' | 'channels', names: readonly string[], from: string): string {
    return names.map((name) => this.#link(folder, name, from)).join(', ')
  }

  #index(title: string): string {
    const { events, channels, consumers, rules, warnings } = this.#catalogue
    return page(`# ${plain(title)}`, [
      section(
        'Events',
        table(
          ['Event', 'Channels', 'Published by', 'Read by', 'Schema'],
          events.map((event) => [
            this.#link('events', event.type, ''),
            this.#links('channels', event.channels, ''),
            names(event.producers),
            names([...event.consumers, ...event.rules]),
            [...new Set(event.schemas.map(({ state }) => state))].join(', '),
          ]),
        ),
      ),
      section(
        'Channels',
        table(
          ['Channel', 'Kind', 'Events', 'Read by'],
          channels.map(({ name, kind, events: types, consumers: readers, rules: acting }) => [
            this.#link('channels', name, ''),
            kind,
            this.#links('events', types, ''),
            [...readers, ...acting].map(code).join(', '),
          ]),
        ),
      ),
      section(
        'Consumers',
        table(
          ['Consumer', 'Reads', 'Emits'],
          consumers.map(({ name, channels: taken, emits }) => [
            code(name),
            this.#links('channels', taken, ''),
            this.#links('events', [...new Set(emits.map(({ type }) => type))], ''),
          ]),
        ),
      ),
      section(
        'Rules',
        table(
          ['Rule', 'Reads', 'Writes', ''],
          rules.map(({ name, description, enabled, on, writes }) => [
            code(name),
            this.#links('channels', on, ''),
            this.#links('channels', writes, ''),
            plain(`${enabled ? '' : '(disabled) '}${description ?? ''}`),
          ]),
        ),
      ),
      section('Warnings', warnings.map(({ message }) => `- ${plain(message)}`).join('\n')),
    ])
  }

  #event(event: CatalogueEvent): string {
    const { type, channels, schemas, producers, consumers, rules, examples } = event
    return page(`# ${code(type)}`, [
      `In the channels ${this.#links('channels', channels, '../')}.`,
      section('Published by', table(['', 'Name', 'Channel', ''], producers.map(producerRow))),
      section('Read by', table(['', 'Name', 'Channel'], [...rows('consumer', consumers), ...rows('rule', rules)])),
      ...schemas.map((schema) => this.#schema(schema, schemas.length > 1)),
      ...examples.map(example),
    ])
  }

  #schema({ state, version, earlier, channels, schema }: CatalogueSchema, several: boolean): string {
    const of = earlier || version > 1 ? ` of version ${version}` : ''
    const title = several ? `Schema${of} in ${channels.map(code).join(', ')}` : `Schema${of}`
    if (schema === null) return section(title, NO_SCHEMA[state])
    const fields = table(['Field', 'Type', 'Required', ''], fieldsOf(schema))
    return section(title, `${fields === '' ? '' : `${fields}\n\n`}${jsonBlock(schema)}`)
  }

  #channel({ name, kind, types, events, key, retain, eventBytesMax, consumers, rules }: CatalogueChannel): string {
    const facts: (readonly [string, string])[] = [
      ['Kind', kind],
      [
        'Events',
        types === null
          ? `any type; seen: ${this.#links('events', events, '../')}`
          : this.#links('events', events, '../'),
      ],
      ['Key', key === null ? 'none of its own' : key === 'function' ? 'made by the application' : code(key.path)],
      ...Object.entries(retain).flatMap(([limit, value]) =>
        value === null || value === false ? [] : [[`Keeps (${limit})`, String(value)] as const],
      ),
      ['Largest event', `${eventBytesMax} bytes`],
      ['Consumers', consumers.map(code).join(', ')],
      ['Rules', rules.map(code).join(', ')],
    ]
    return page(`# ${code(name)}`, [
      table(
        ['', ''],
        facts.filter(([, value]) => value !== ''),
      ),
    ])
  }
}

const NO_SCHEMA = {
  known: '',
  none: 'The channel declares no schema for it.',
  opaque: 'It has a schema that gives no JSON Schema.',
  'too large': 'Its schema does not fit into the declaration of the channel.',
} as const

function names(those: readonly { readonly name: string }[]): string {
  return [...new Set(those.map(({ name }) => name))].map(code).join(', ')
}

function producerRow({ kind, name, channel, certain }: CatalogueProducer): readonly string[] {
  return [kind, code(name), code(channel), certain ? '' : 'likely']
}

function rows(kind: string, readers: readonly CatalogueReader[]): (readonly string[])[] {
  return readers.map(({ name, channel }) => [kind, code(name), code(channel)])
}

function example({ channel, offset, event, masked }: SeenExample): string {
  const note = masked ? ' Its sensitive fields are masked.' : ''
  return section('Example', `At offset ${offset} of ${code(channel)}.${note}\n\n${jsonBlock(event)}`)
}

/** The fields of a schema, as far as they are told without conditions. Empty if there are too many. */
function fieldsOf(schema: JsonObject): readonly (readonly string[])[] {
  const found: (readonly string[])[] = []
  const visit = (each: unknown, path: string, depth: number): void => {
    if (!isJsonObject(each) || depth > DEPTH_MAX || found.length > FIELDS_MAX) return
    const { properties, required, items } = each
    const needed: readonly unknown[] = Array.isArray(required) ? required : []
    for (const [name, member] of Object.entries(isJsonObject(properties) ? properties : {})) {
      if (found.length > FIELDS_MAX) return
      const at = path === '' ? name : `${path}.${name}`
      const { description, 'x-sensitive': sensitive } = isJsonObject(member) ? member : {}
      const note = [sensitive === true ? 'sensitive' : '', typeof description === 'string' ? plain(description) : '']
      found.push([code(at), typeOf(member), needed.includes(name) ? 'yes' : '', note.filter(Boolean).join(': ')])
      visit(member, at, depth + 1)
    }
    if (isJsonObject(items)) visit(items, `${path}[]`, depth + 1)
  }
  visit(schema, '', 0)
  return found.length > FIELDS_MAX ? [] : found
}

function typeOf(schema: unknown): string {
  if (!isJsonObject(schema)) return ''
  const { type, format, enum: among, const: only, items } = schema
  if (only !== undefined) return code(shown(only))
  if (Array.isArray(among))
    return among
      .slice(0, 8)
      .map((each) => code(shown(each)))
      .join(', ')
  const words = [type].flat().filter((each) => typeof each === 'string')
  const inner = words.includes('array') ? typeOf(items) : ''
  const text = plain(words.join(' or '))
  return `${text}${inner === '' ? '' : ` of ${inner}`}${typeof format === 'string' ? ` (${plain(format)})` : ''}`
}

function page(heading: string, parts: readonly string[]): string {
  return `${[heading, ...parts.filter((part) => part !== '')].join('\n\n')}\n`
}

function section(heading: string, body: string): string {
  return body === '' ? '' : `## ${heading}\n\n${body}`
}

function table(heads: readonly string[], body: readonly (readonly string[])[]): string {
  if (body.length === 0) return ''
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(heads), line(heads.map(() => '---')), ...body.map(line)].join('\n')
}

/** Control characters, and those that turn the direction of text. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** Text from outside as Markdown that shows it: one line, nothing of it is markup. */
function plain(text: string): string {
  return text.replace(UNSEEN, ' ').replace(/[\\`*_{}[\]<>()#+!|~&$]/g, '\\$&')
}

/** Text from outside as code in a line, also in a table. */
function code(text: string): string {
  return `\`${text.replace(UNSEEN, ' ').replaceAll('`', "'").replaceAll('|', '\\|')}\``
}

function jsonBlock(value: unknown): string {
  const text = JSON.stringify(value, null, 2).replace(UNSEEN, (char) =>
    char === '\n' ? char : `\\u${(char.codePointAt(0) as number).toString(16).padStart(4, '0')}`,
  )
  return `\`\`\`json\n${text}\n\`\`\``
}
