/** The contract on `file:`, each scenario in a directory of its own. */
import { conformance } from '../../src/testing/conformance/conformance.ts'
import { fileWorlds } from './embedded-worlds.ts'
import { sideBySide } from './side-by-side.ts'

conformance({ test: sideBySide, ...fileWorlds })
