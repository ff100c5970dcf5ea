/** The contract on `memory:`. */
import { conformance } from '../../src/testing/conformance/conformance.ts'
import { memoryWorlds } from './embedded-worlds.ts'
import { sideBySide } from './side-by-side.ts'

conformance({ test: sideBySide, ...memoryWorlds })
