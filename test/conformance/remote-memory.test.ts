/** The contract over `ws:`, to a server that keeps its events in memory. */
import { memoryCapabilities } from '../../src/engines/embedded/capabilities.ts'
import { conformance } from '../../src/testing/conformance/conformance.ts'
import { remoteMemoryWorlds } from './remote-worlds.ts'
import { sideBySide } from './side-by-side.ts'

conformance({ test: sideBySide, capabilities: memoryCapabilities, ...remoteMemoryWorlds() })
