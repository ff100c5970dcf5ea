/** The contract over `ws:`, to a server that owns a data directory. */
import { conformance } from '../../src/testing/conformance/conformance.ts'
import { remoteFileWorlds } from './remote-worlds.ts'
import { sideBySide } from './side-by-side.ts'

conformance({ test: sideBySide, ...remoteFileWorlds() })
