/** The contract on `file:`, each scenario in a directory of its own. */
import { test } from 'vitest'
import { conformance } from '../../src/testing/conformance/conformance.ts'
import { fileWorlds } from './embedded-worlds.ts'

conformance({ test, ...fileWorlds })
