/** GitHub's webhooks as events, and what they tell about each repository. */
import { event, stream } from 'millrace'
import { z } from 'zod'

/** Any `com.github.…` event. The repository is the event's `partitionkey`, and so its key. */
export const github = stream('github')

export const RepositoryActivity = event(
  'repository.activity',
  z.object({
    repository: z.string(),
    url: z.string(),
    events: z.int(),
    /** How many of each kind: `issues`, `push` … */
    kinds: z.record(z.string(), z.int()),
    actors: z.array(z.string()),
    last: z.object({ type: z.string(), actor: z.string(), title: z.string() }),
  }),
)
export const activity = stream('activity', {
  events: [RepositoryActivity],
  key: (e) => e.data.repository,
  retain: { latestByKey: true },
})

/** What the rules of examples/shop/rules find. */
export const alerts = stream('alerts')
