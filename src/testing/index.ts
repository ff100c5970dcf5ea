/** Testing: a broker for unit tests, and the conformance suite for engines. */
export type { Faults } from './faults.ts'
export { type TestBroker, type TestBrokerOptions, testBroker } from './test-broker.ts'
