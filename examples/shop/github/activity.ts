/** Records what happens in each repository, from its webhooks. */
import { type Broker, consumer, type Running, type StoredEvent } from 'millrace'
import { latest } from '../latest.ts'
import { activity, github, RepositoryActivity } from './events.ts'

type Activity = Parameters<typeof RepositoryActivity>[0]

const ACTORS_MAX = 12

export async function startActivity(broker: Broker): Promise<Running> {
  const repositories = new Map<string, Activity>()
  for (const [repository, { data }] of await latest(broker, activity, (event) => event.data.repository))
    repositories.set(repository, data)

  // The key is the repository, so its events come one at a time and in order, and different repositories in parallel.
  const keeper = consumer('activity', github).onAny(async (webhook, ctx) => {
    const repository = ctx.key ?? webhook.source
    const next = withWebhook(repositories.get(repository), repository, webhook)
    await ctx.emit(activity, RepositoryActivity(next))
    repositories.set(repository, next)
  })
  return broker.start(keeper)
}

function withWebhook(before: Activity | undefined, repository: string, webhook: StoredEvent): Activity {
  const payload = webhook.data as Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>
  const kind = webhook.type.split('.')[2] ?? 'other'
  const actor = String(payload['sender']?.['login'] ?? 'someone')
  const about =
    payload['issue'] ??
    payload['pull_request'] ??
    payload['release'] ??
    payload['discussion'] ??
    payload['head_commit'] ??
    {}
  const title = String(about['title'] ?? about['name'] ?? about['message'] ?? '')
    .split('\n')[0]
    ?.slice(0, 120)
  return {
    repository,
    url: webhook.source,
    events: (before?.events ?? 0) + 1,
    kinds: { ...before?.kinds, [kind]: (before?.kinds[kind] ?? 0) + 1 },
    actors: [...new Set([actor, ...(before?.actors ?? [])])].slice(0, ACTORS_MAX),
    last: { type: webhook.type, actor, title: title ?? '' },
  }
}
