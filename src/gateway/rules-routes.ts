/**
 * Rules over HTTP: list, show, put, enable, disable, remove, test. The rules run where `startRules` runs.
 *
 * To change a rule, the caller needs the permission `rules` for all of its channels, before and after the change, and
 * `publish` for the channels to which it writes. To show a rule, the caller needs `rules` for its channels. To test a
 * rule, the caller also needs `read` for the channels whose events are tested.
 */
import type { Broker } from '../broker/broker.ts'
import { testRule } from '../rules/dry-run.ts'
import { parseRule, type Rule, type RuleDefinition } from '../rules/rule.ts'
import { type RuleDescription, type Rules, rulesOf } from '../rules/rules.ts'
import { covers } from './access/permissions.ts'
import { membersOf } from './json-body.ts'
import { badRequest } from './problem.ts'
import { positionOf } from './query.ts'
import type { GatewayRequest, JsonSchema, Parameter, Route } from './route.ts'
import { json } from './schemas.ts'

const RULE: Parameter = { description: 'The name of the rule.', required: true, schema: { type: 'string' } }
const PATH = '/api/rules/{rule}'
const object: JsonSchema = { type: 'object' }
const DEFINITION: JsonSchema = {
  type: 'object',
  required: ['on', 'then'],
  properties: {
    name: { type: 'string' },
    description: { type: 'string' },
    on: { type: ['string', 'array'], description: 'The channels.' },
    when: { type: ['string', 'object'], description: 'A CloudEvents SQL expression, or an event pattern.' },
    then: { description: 'The actions.' },
    enabled: { type: 'boolean' },
  },
}
const EITHER: JsonSchema = { type: ['string', 'object'], description: 'A rule, or the name of one.' }
const REASON: Parameter = { description: 'The reason; kept in the history.', schema: { type: 'string' } }

/** Members that the routes of one rule share. */
const ONE = {
  tag: 'rules',
  parameters: { rule: RULE },
  access: { action: 'rules', of: 'handler' },
  refuses: ['UNKNOWN_RULE', 'CLOSED'],
} as const
const RECEIPT = { 200: { description: 'The offset in each channel from which it applies.', content: json(object) } }

export function rulesRoutes(broker: Broker): Route[] {
  return [...readRoutes(broker), putRoute(broker), ...switchRoutes(broker), testRoute(broker)]
}

function readRoutes(broker: Broker): Route[] {
  return [
    {
      tag: 'rules',
      access: { action: 'rules', of: 'handler' },
      method: 'GET',
      path: '/api/rules',
      name: 'listRules',
      summary: 'List the rules: all, or those on a channel or wildcard.',
      query: { on: { description: 'Only rules on this channel or wildcard.', schema: { type: 'string' } } },
      answers: { 200: { description: 'The rules by name, and the files that were refused.', content: json(object) } },
      refuses: ['CLOSED'],
      handle: (request) => list(request, broker),
    },
    {
      ...ONE,
      method: 'GET',
      path: PATH,
      name: 'showRule',
      summary: 'Show a rule, with all its changes.',
      answers: { 200: { description: 'The rule and its history.', content: json(object) } },
      handle: async (request) => {
        const { rules, rule } = await known(request, broker)
        return Response.json({ rule, history: await rules.history(rule.name) })
      },
    },
  ]
}

function putRoute(broker: Broker): Route {
  return {
    ...ONE,
    method: 'PUT',
    path: PATH,
    name: 'putRule',
    summary: 'Add or change a rule.',
    query: { reason: REASON },
    body: { required: true, content: json(DEFINITION) },
    answers: RECEIPT,
    refuses: ['INVALID_RULE', 'UNKNOWN_CHANNEL', 'CLOSED'],
    handle: (request) => put(request, broker),
  }
}

/** Changes that take no body but the name of the rule. */
function switchRoutes(broker: Broker): Route[] {
  const switched = { ...ONE, query: { reason: REASON }, answers: RECEIPT }
  const change = (verb: 'enable' | 'disable') => async (request: GatewayRequest) => {
    const { rules, rule } = await known(request, broker)
    return Response.json(await rules[verb](rule.name, reasonOf(request)))
  }
  return [
    {
      ...ONE,
      needsReason: true,
      answers: RECEIPT,
      method: 'DELETE',
      path: PATH,
      name: 'removeRule',
      summary: 'Remove a rule, and the events that wait for its actions.',
      handle: async (request) => {
        const { rules, rule } = await known(request, broker)
        return Response.json(await rules.remove(rule.name, { reason: request.reason() }))
      },
    },
    {
      ...switched,
      method: 'POST',
      path: `${PATH}/enable`,
      name: 'enableRule',
      summary: 'Enable a rule.',
      handle: change('enable'),
    },
    {
      ...switched,
      method: 'POST',
      path: `${PATH}/disable`,
      name: 'disableRule',
      summary: 'Disable a rule.',
      handle: change('disable'),
    },
  ]
}

function testRoute(broker: Broker): Route {
  return {
    tag: 'rules',
    access: { action: 'rules', of: 'handler' },
    method: 'POST',
    path: '/api/rule-tests',
    name: 'testRule',
    summary: 'Test a rule on stored events, or explain one event. No action is performed.',
    audited: false,
    body: {
      required: true,
      content: json({
        type: 'object',
        required: ['rule'],
        properties: {
          rule: EITHER,
          event: object,
          on: { type: ['string', 'array'] },
          from: { type: ['string', 'integer'] },
          to: { type: ['string', 'integer'] },
          show: { type: 'integer' },
        },
      }),
    },
    answers: {
      200: {
        description:
          'The events that would have matched and the actions that would have been done; with an event, why it matches or not.',
        content: json(object),
      },
    },
    refuses: ['INVALID_RULE', 'UNKNOWN_RULE', 'CLOSED'],
    handle: (request) => test(request, broker),
  }
}

function rulesFor(request: GatewayRequest, broker: Broker): Rules {
  return rulesOf(broker, { author: request.principal.name })
}

function reasonOf({ query }: GatewayRequest): { readonly reason?: string } {
  const { reason } = query
  return reason === undefined ? {} : { reason }
}

function permitAll(request: GatewayRequest, { on }: Pick<RuleDefinition, 'on'>): void {
  for (const channel of [on].flat()) request.permit('rules', channel)
}

/** Only a caller that may change all rules learns that a rule does not exist or is malformed. */
async function permitted<Value>(
  request: GatewayRequest,
  name: string | null,
  find: () => Value | Promise<Value>,
): Promise<Value> {
  try {
    return await find()
  } catch (error) {
    if (name === null) request.permit('rules', '>')
    else request.permitNamed('rules', 'rule', name, [])
    throw error
  }
}

/** Requires the permission for a rule that exists. The refusal does not name its channels. */
function permitRule(request: GatewayRequest, { name, definition }: Pick<RuleDescription, 'name' | 'definition'>): void {
  request.permitNamed('rules', 'rule', name, [definition.on].flat())
}

/** The rule of the path, if the caller has the permission for it. */
async function known(
  request: GatewayRequest,
  broker: Broker,
): Promise<{ readonly rules: Rules; readonly rule: RuleDescription }> {
  const rules = rulesFor(request, broker)
  const name = request.parameters['rule'] as string
  const rule = await permitted(request, name, () => rules.get(name))
  permitRule(request, rule)
  return { rules, rule }
}

async function list(request: GatewayRequest, broker: Broker): Promise<Response> {
  const { on } = request.query
  request.permit('rules', on ?? '>')
  const rules = rulesFor(request, broker)
  const all = await rules.list()
  const refused = on === undefined ? await rules.refused() : []
  return Response.json({
    rules:
      on === undefined
        ? all
        : all.filter(({ definition }) => [definition.on].flat().every((channel) => covers(on, channel))),
    refused,
  })
}

async function put(request: GatewayRequest, broker: Broker): Promise<Response> {
  const rule = await permitted(request, null, async () => {
    const body = membersOf(await request.json(), ['name', 'description', 'on', 'when', 'then', 'enabled'], 'a rule')
    const name = request.parameters['rule']
    if (body.name !== undefined && body.name !== name)
      throw badRequest(400, `the rule in the body has another name than the path: "${name}"`)
    return parseRule({ ...body, name })
  })
  permitAll(request, rule.definition)
  for (const action of rule.actions)
    if (action.kind === 'emit' || action.kind === 'forward') request.permit('publish', action.channel)
  const rules = rulesFor(request, broker)
  const before = (await rules.list()).find((each) => each.name === rule.name)
  if (before !== undefined) permitRule(request, before)
  return Response.json(
    await rules.put({ ...rule.definition, ...(rule.enabled !== null && { enabled: rule.enabled }) }, reasonOf(request)),
  )
}

async function test(request: GatewayRequest, broker: Broker): Promise<Response> {
  const rules = rulesFor(request, broker)
  const body = membersOf(await request.json(), ['rule', 'event', 'on', 'from', 'to', 'show'], 'a test')
  const { event, on, from, to, show } = body
  const name = typeof body.rule === 'string' ? body.rule : null
  const rule: Rule = await permitted(request, name, async () =>
    parseRule(name === null ? body.rule : (await rules.get(name)).definition),
  )
  if (name === null) permitAll(request, rule.definition)
  else permitRule(request, { name, definition: rule.definition })
  if (event !== undefined) {
    if (typeof event !== 'object' || event === null)
      throw badRequest(400, 'event must be a CloudEvent as a JSON object')
    return Response.json(await rules.explain(rule.definition, event))
  }
  const channels = on === undefined ? rule.on : [on].flat().map(String)
  for (const channel of channels) request.permit('read', channel)
  if (show !== undefined && !(typeof show === 'number' && show >= 0 && show <= 100))
    throw badRequest(400, 'show must be a number from 0 to 100')
  const range = {
    ...(from !== undefined && { from: positionOf('from', String(from)) }),
    ...(to !== undefined && { to: positionOf('to', String(to)) }),
  }
  const options = { on: channels, ...range, ...(show !== undefined && { show }) }
  return Response.json(await testRule(broker, rule, options, request.maySee))
}
