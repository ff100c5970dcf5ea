/** The types of rules. Never run. */
import { connect } from 'millrace'
import { compileExpression, explainPattern, RuleIndex } from 'millrace/pattern'
import { rulesOf, startRules } from 'millrace/rules'

export async function rules(): Promise<void> {
  const broker = await connect('memory:')
  const running = await startRules(broker, {
    functions: {
      flag: async (event, ctx) => {
        event.type satisfies string
        ctx.rule satisfies string
        await ctx.emit('alerts', { type: 'alert' })
        // @ts-expect-error nothing is known of the data
        event.data.cart satisfies string
      },
      // @ts-expect-error a function is needed
      wrong: 'flag',
    },
    folder: './rules',
    http: { allow: ['10.0.0.0/8'] },
  })
  const { from, revision } = await running.put(
    { name: 'r', on: ['carts'], when: "type = 'x'", then: 'drop' },
    { author: 'ann', reason: 'because' },
  )
  from['carts'] satisfies number | undefined
  revision satisfies number
  // @ts-expect-error a rule has a name
  await running.put({ on: 'carts', then: 'drop' })
  // @ts-expect-error a rule does something
  await running.put({ name: 'r', on: 'carts' })
  // @ts-expect-error a condition is a pattern or an expression
  await running.put({ name: 'r', on: 'carts', when: 5, then: 'drop' })
  // @ts-expect-error there is no such option
  await running.disable('r', { by: 'ann' })
  // @ts-expect-error who only looks cannot stop them
  await rulesOf(broker).stop()
  const { matches, firstMiss } = await rulesOf(broker).test('r', { from: '7d' })
  matches[0]?.would[0]?.action satisfies string | undefined
  // @ts-expect-error there may be none
  firstMiss.reason satisfies string
}

new RuleIndex().match('{}') satisfies string[]
compileExpression('TRUE').evaluate({}).value satisfies string | number | boolean
explainPattern({ a: [1] }, {}).conditions satisfies readonly object[]
// @ts-expect-error an event is no number
new RuleIndex().match(5)
