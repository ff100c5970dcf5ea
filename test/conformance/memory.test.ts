/** The contract on `memory:`. */
import { test } from 'vitest'
import { conformance } from '../../src/testing/conformance/conformance.ts'
import { memoryWorlds } from './embedded-worlds.ts'

conformance({ test, ...memoryWorlds })
