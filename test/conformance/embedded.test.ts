/** The contract on the embedded engine: `memory:`, and `file:` in a directory of its own for each scenario. */
import { describe, test } from 'vitest'
import { conformance } from '../../src/testing/conformance/conformance.ts'
import { fileWorlds, memoryWorlds } from './embedded-worlds.ts'

describe('memory:', () => conformance({ test, ...memoryWorlds }))
describe('file:', () => conformance({ test, ...fileWorlds }))
