/** `millrace/rules`: handlers as data, changed while the system runs. */
export type { CallContext, RuleFunction } from './action/call-action.ts'
export type { Explanation, TestMatch, TestOptions, TestResult, WouldDo } from './dry-run.ts'
export { parseRuleFile } from './folder/rule-file.ts'
export type { ChangeReceipt } from './live/rule-book.ts'
export type { RuleDefinition } from './rule.ts'
export {
  type ChangeOptions,
  type RefusedFile,
  type RuleDescription,
  type RuleHistoryEntry,
  type Rules,
  type RulesOfOptions,
  rulesOf,
} from './rules.ts'
export { type RunningRules, type StartRulesOptions, startRules } from './start-rules.ts'
