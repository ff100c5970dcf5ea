/** Testing: a broker for unit tests, and the conformance suite for engines. */
export { type ConformanceHarness, type ConformanceTest, conformance } from './conformance/conformance.ts'
export type { Need, Scenario } from './conformance/scenario.ts'
export { SCENARIOS } from './conformance/scenarios.ts'
export type { ConformanceWorld, Patience, World } from './conformance/world.ts'
export type { Faults } from './faults.ts'
export { type TestBroker, type TestBrokerOptions, testBroker } from './test-broker.ts'
