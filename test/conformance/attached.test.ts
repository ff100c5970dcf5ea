/** The contract on `file:` as a second process: every broker is attached to a directory that another engine owns. */
import { conformance } from '../../src/testing/conformance/conformance.ts'
import { attachedWorlds } from './attached-worlds.ts'
import { sideBySide } from './side-by-side.ts'

conformance({ test: sideBySide, ...attachedWorlds })
