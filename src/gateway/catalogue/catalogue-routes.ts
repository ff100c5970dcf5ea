/**
 * The catalogue over HTTP: as JSON, as AsyncAPI, and the JSON Schemas one by one. A caller sees the channels for which
 * it has a permission, and examples from those that it may read.
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Application } from '../../catalogue/application.ts'
import { ASYNC_API_VERSIONS, type AsyncApiVersion, asyncApiOf } from '../../catalogue/async-api.ts'
import { type Catalogue, type CatalogueSchema, catalogueOf, ofType } from '../../catalogue/catalogue.ts'
import { CatalogueLook, type Looked } from '../../catalogue/look.ts'
import { visibleFacts } from '../../catalogue/visible.ts'
import { ACTIONS } from '../access/permissions.ts'
import type { Principal } from '../access/principal.ts'
import type { GatewayHost } from '../gateway-host.ts'
import { badRequest } from '../problem.ts'
import type { GatewayPart, GatewayRequest, JsonSchema, Parameter, Route } from '../route.ts'
import { json, ref } from '../schemas.ts'

const PROBLEM = { 'application/problem+json': ref('Problem') }
const SCHEMA_TYPE = 'application/schema+json'
const TYPE: Parameter = { description: 'The event type.', required: true, schema: { type: 'string' } }
const CATALOGUE: JsonSchema = {
  type: 'object',
  required: ['events', 'channels', 'consumers', 'rules', 'warnings'],
  properties: Object.fromEntries(
    ['events', 'channels', 'consumers', 'rules', 'warnings'].map((name) => [
      name,
      { type: 'array', items: { type: 'object' } },
    ]),
  ),
}
/** A permission on a channel shows its events. Metrics alone do not. */
const SEEING = ACTIONS.filter((action) => action !== 'metrics')

export class CataloguePart implements GatewayPart {
  readonly routes: readonly Route[]
  readonly #look: CatalogueLook
  #looking: { readonly sinceMs: number; readonly looked: Promise<Looked> } | null = null

  constructor({ broker }: GatewayHost) {
    this.#look = new CatalogueLook(broker)
    this.routes = [this.#catalogueRoute(), this.#asyncApiRoute(), this.#schemaRoute(), this.#versionRoute()]
  }

  #catalogueRoute(): Route {
    return {
      method: 'GET',
      path: '/catalogue',
      name: 'showCatalogue',
      summary: 'The events with their schemas, who publishes and who reads them, and examples.',
      tag: 'catalogue',
      access: 'known',
      query: {
        type: { description: 'Only this event type, with its channels and what uses it.', schema: { type: 'string' } },
      },
      answers: { 200: { description: 'The catalogue.', content: json(CATALOGUE) } },
      refuses: ['CLOSED'],
      handle: async ({ principal, query: { type } }) => {
        const catalogue = await this.#of(principal)
        return Response.json(type === undefined ? catalogue : ofType(catalogue, type))
      },
    }
  }

  #asyncApiRoute(): Route {
    return {
      method: 'GET',
      path: '/asyncapi.json',
      name: 'asyncApi',
      summary: 'The catalogue as an AsyncAPI document.',
      tag: 'catalogue',
      access: 'known',
      query: {
        consumer: { description: 'Only what this consumer receives and sends.', schema: { type: 'string' } },
        source: { description: 'Only what is sent under this CloudEvents source.', schema: { type: 'string' } },
        version: { description: 'The version of AsyncAPI.', schema: { enum: ASYNC_API_VERSIONS, default: '3.0' } },
      },
      answers: { 200: { description: 'AsyncAPI.', content: json({ type: 'object' }) } },
      refuses: ['CLOSED'],
      handle: async ({ principal, query, url }) => {
        const { version = '3.0' } = query
        if (!isVersion(version)) throw badRequest(400, `version must be one of ${ASYNC_API_VERSIONS.join(', ')}`)
        const of = applicationIn(query)
        const title = of === null ? 'Events' : of.name
        return Response.json(
          asyncApiOf(await this.#of(principal), { version, url: url.origin, title, ...(of !== null && { of }) }),
        )
      },
    }
  }

  #schemaRoute(): Route {
    return {
      method: 'GET',
      path: '/schemas/{type}',
      name: 'showSchema',
      summary: 'The JSON Schema of an event type, if its channels have one and the same.',
      tag: 'catalogue',
      access: 'known',
      parameters: { type: TYPE },
      query: {
        channel: { description: 'The schema in this channel.', schema: { type: 'string' } },
        version: { description: 'Of this version. Default: the newest.', schema: { type: 'integer', minimum: 1 } },
      },
      answers: { ...SCHEMA_ANSWER, 409: { description: 'Its channels have different schemas.', content: PROBLEM } },
      refuses: ['CLOSED'],
      handle: async (request) => {
        const { channel, version } = request.query
        const known = (await this.#schemasOf(request)).filter(
          (each) =>
            (channel === undefined || each.channels.includes(channel)) &&
            (version === undefined ? !each.earlier : String(each.version) === version),
        )
        const [schema, other] = known
        if (schema === undefined) throw noSchema(request)
        if (other === undefined) return schemaAnswer(schema)
        const channels = known.map((each) => each.channels.join(', ')).join(' · ')
        throw badRequest(409, `its channels have different schemas (${channels}): choose one with ?channel=`)
      },
    }
  }

  #versionRoute(): Route {
    return {
      method: 'GET',
      path: '/schemas/{type}/{fingerprint}',
      name: 'showSchemaVersion',
      summary: 'The JSON Schema of an event type with this fingerprint: a URL for dataschema.',
      tag: 'catalogue',
      access: 'known',
      parameters: {
        type: TYPE,
        fingerprint: { description: 'As the catalogue has it.', required: true, schema: { type: 'string' } },
      },
      answers: SCHEMA_ANSWER,
      refuses: ['CLOSED'],
      handle: async (request) => {
        const { fingerprint } = request.parameters
        const schema = (await this.#schemasOf(request)).find((each) => each.fingerprint === fingerprint)
        if (schema === undefined) throw noSchema(request)
        return schemaAnswer(schema)
      },
    }
  }

  async #schemasOf({ parameters, principal }: GatewayRequest): Promise<readonly CatalogueSchema[]> {
    const { events } = await this.#of(principal)
    const event = events.find(({ type }) => type === parameters['type'])
    return event?.schemas.filter(({ schema }) => schema !== null) ?? []
  }

  async #of({ permits }: Principal): Promise<Catalogue> {
    const viewer = {
      sees: (channel: string) => SEEING.some((action) => permits(action, channel)),
      reads: (channel: string) => permits('read', channel),
    }
    return catalogueOf(visibleFacts(await this.#looked(), viewer))
  }

  /** Callers within a short time share a look. */
  async #looked(): Promise<Looked> {
    const nowMs = performance.now()
    if (this.#looking !== null && nowMs - this.#looking.sinceMs < LIMITS.catalogueLookMs) return this.#looking.looked
    const looking = { sinceMs: nowMs, looked: this.#look.look() }
    this.#looking = looking
    looking.looked.catch(() => {
      if (this.#looking === looking) this.#looking = null
    })
    return looking.looked
  }
}

const SCHEMA_ANSWER: Route['answers'] = {
  200: { description: 'JSON Schema 2020-12.', content: { [SCHEMA_TYPE]: { type: 'object' } } },
  404: { description: 'No channel has it.', content: PROBLEM },
}

function schemaAnswer({ schema, fingerprint }: CatalogueSchema): Response {
  return new Response(JSON.stringify(schema), { headers: { 'content-type': SCHEMA_TYPE, etag: `"${fingerprint}"` } })
}

/** Whether there is such a schema in a channel that the caller may not see is not revealed. */
function noSchema({ parameters, principal: { permits, kind, name } }: GatewayRequest): MillraceError {
  const type = String(parameters['type']).slice(0, 100)
  if (SEEING.some((action) => permits(action, '>')))
    return badRequest(404, `no channel has this JSON Schema of "${type}": GET /catalogue lists them`)
  return new MillraceError('FORBIDDEN', `there is no schema of "${type}" that ${kind} "${name}" may see`, { type })
}

/** @throws INVALID_REQUEST */
function applicationIn({ consumer, source }: GatewayRequest['query']): Application | null {
  if (consumer !== undefined && source !== undefined) throw badRequest(400, 'name a consumer or a source, not both')
  if (consumer !== undefined) return { kind: 'consumer', name: consumer }
  return source === undefined ? null : { kind: 'source', name: source }
}

function isVersion(version: string): version is AsyncApiVersion {
  return (ASYNC_API_VERSIONS as readonly string[]).includes(version)
}
