/** Why the scenarios of a consumer's own key are left out where another process decides about deliveries. */
import type { ConformanceHarness } from '../../src/testing/conformance/conformance.ts'

type Lacks = NonNullable<ConformanceHarness['lacks']>

export const NO_OWN_KEY_REMOTE: Lacks = {
  'own-key':
    'the process that has the data decides about deliveries, and has no key function: a consumer with its own key is refused',
}

export const NO_OWN_KEY_ON_SERVERS: Lacks = {
  'own-key': 'the key of the channel decides which process has an event: a consumer with its own key is refused',
}
