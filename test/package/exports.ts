/**
 * What each public entry exports at run time. A change here is a change of the public API: it belongs in CHANGELOG.md.
 */
export const EXPORTS: Readonly<Record<string, readonly string[]>> = {
  '.': [
    'MillraceError',
    'attribute',
    'bytes',
    'connect',
    'consumer',
    'decodeHttp',
    'duration',
    'encodeHttp',
    'event',
    'isMillraceError',
    'queue',
    'stream',
    'validateCloudEvent',
  ],
  './pattern': ['RuleIndex', 'compileExpression', 'compileFilter', 'compilePattern', 'explainPattern'],
  './rules': ['parseRuleFile', 'rulesOf', 'startRules'],
  './browser': ['createClient'],
  './gateway': ['createGateway', 'serveGateway'],
  './otel': ['openTelemetry'],
  './testing': [
    'ANOMALIES',
    'HistoryRecorder',
    'SCENARIOS',
    'checkHistory',
    'conformance',
    'readHistory',
    'testBroker',
  ],
}
