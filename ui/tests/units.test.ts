// What needs no browser: weights that sum to the whole, the document that the form writes, numbers in words.

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse, parseAllDocuments } from 'yaml'
import { rehearsal, versionsOf, write } from '../src/document'
import { EMPTY, placesOf, version, without } from '../src/form'
import type { Form } from '../src/form'
import { read } from '../src/reading'
import { fingerprint } from '../scripts/sources.mjs'
import { best, eValue, milliseconds, percent, probability, roughly, stretch, weight } from '../src/format'
import { WHOLE, rebalance } from '../src/parts/sliders'
import { whyNot } from '../src/parts/role'
import type { Assessment } from '../src/types'

test('who is best is believed of nobody before anything has settled, nor of who is out', () => {
  const assessment = (settledExposures: number, out: boolean): Assessment =>
    ({ settledExposures, versions: [{ out, probabilityBestAndFeasible: 0.0824 }] }) as unknown as Assessment
  assert.equal(probability(best(assessment(0, false), 0)), '–')
  assert.equal(probability(best(assessment(900, true), 0)), '–')
  assert.equal(probability(best(assessment(900, false), 0)), probability(0.0824))
  assert.equal(best(null, 0), null)
})

test('whoever may not decide is told so by name, and nobody else', () => {
  assert.match(whyNot({ name: 'eve', role: 'viewer' }) ?? '', /^The token of eve has the role viewer/)
  assert.match(whyNot({ name: 'viewer', role: 'viewer' }) ?? '', /^This token has the role viewer/)
  for (const who of [{ name: 'ada', role: 'operator' as const }, {}, null]) assert.equal(whyNot(who), null)
})

test('weights sum to the whole whatever is moved where, and what is fixed stays', () => {
  let seed = 7
  const below = (bound: number): number => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed % bound
  }
  for (let round = 0; round < 2_000; round += 1) {
    const versions = 2 + below(5)
    const fixed = Array.from({ length: versions }, (_, at) => at > 0 && below(4) === 0)
    let weights: number[] = Array.from({ length: versions }, (_, at) => (at === 0 ? WHOLE : 0))
    for (let move = 0; move < 6; move += 1) {
      const at = below(versions)
      if (fixed[at]) continue
      const before = weights
      const value = below(12_000) - 1_000
      weights = rebalance(weights, at, value, fixed)
      assert.equal(
        weights.reduce((sum, each) => sum + each, 0),
        WHOLE,
        `${before} → ${weights}`,
      )
      assert.ok(
        weights.every((each) => Number.isInteger(each) && each >= 0 && each <= WHOLE),
        String(weights),
      )
      fixed.forEach((still, other) => {
        if (still) assert.equal(weights[other], before[other])
      })
      const others = fixed.some((still, other) => !still && other !== at)
      if (others) assert.equal(weights[at], Math.min(WHOLE, Math.max(0, value)))
    }
  }
})

test('the others keep their proportions when one is moved', () => {
  assert.deepEqual(rebalance([5_000, 3_000, 2_000], 0, 0, [false, false, false]), [0, 6_000, 4_000])
  assert.deepEqual(rebalance([10_000, 0, 0], 0, 4_000, [false, false, false]), [4_000, 3_000, 3_000])
  assert.deepEqual(rebalance([2_500, 7_500, 0], 1, 10_000, [false, false, true]), [0, 10_000, 0])
})

test('the document says what the form says, and nothing that is as usual anyway', () => {
  const text = write({
    ...EMPTY,
    name: 'shop',
    hosts: 'shop.example, *.shop.example',
    versions: [version('1.9'), version('v2')],
    baseline: 1,
    strategy: 'canary',
    steps: '1%, 10%',
    alpha: '0.01',
    limits: [
      { kind: 'latencyMax', name: 'p99', value: '400ms', quantile: '99%', rest: {} },
      { kind: 'errorRatio', name: 'errors', value: '0.3%', quantile: '', rest: {} },
      { kind: 'latencyRatio', name: 'slow', value: '1.25', quantile: '', rest: {} },
    ],
    reward: 'header',
    approvals: { start: false, step: true, promotion: false },
  })
  assert.deepEqual(parse(text), {
    apiVersion: 'weir.dev/v1alpha1',
    kind: 'Experiment',
    metadata: { name: 'shop' },
    spec: {
      service: 'checkout',
      match: { hosts: ['shop.example', '*.shop.example'] },
      versions: [{ name: '1.9' }, { name: 'v2', baseline: true }],
      strategy: { canary: { steps: ['1%', '10%'] } },
      objectives: [{ name: 'p99', latency: { quantile: '99%', max: '400ms' } }],
      guardrails: [
        { name: 'errors', errorRate: { margin: '0.3%' } },
        { name: 'slow', latency: { ratio: 1.25 } },
      ],
      reward: { responseHeader: 'x-weir-reward', direction: 'maximize' },
      alpha: 0.01,
      approvals: { step: true },
    },
  })
  assert.match(text, /name: "1\.9"/, 'a version that looks like a number is a text')
  assert.deepEqual(versionsOf(text), ['1.9', 'v2'])
  assert.deepEqual(versionsOf('spec: ['), [])
})

/** Every experiment that the documentation shows: the examples, and those of the scenarios. */
function examples(): string[] {
  const root = process.env['WEIR_ROOT'] ?? join(process.cwd(), '..')
  const page = readFileSync(join(root, 'docs/experiment.md'), 'utf8')
  const shown = [...page.matchAll(/```yaml\n(apiVersion.*?)```/gs)].map(([, text]) => text ?? '')
  const scenarios = readdirSync(join(root, 'docs/scenarios'))
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => readFileSync(join(root, 'docs/scenarios', name), 'utf8').split(/^---$/m)[0] ?? '')
  return [...shown, ...scenarios]
}
const plain = (text: string): Record<string, Record<string, unknown>> => parse(text) as never
/** As the reader of documents takes it: a strategy is a word, or has details. */
const meant = (text: string): unknown => {
  const said = plain(text)
  const strategy = said['spec']?.['strategy']
  if (typeof strategy === 'string' && said['spec']) said['spec']['strategy'] = { [strategy]: {} }
  return said
}

test('the form shows every experiment of the documentation, and drops nothing of any', () => {
  const all = examples()
  assert.ok(all.length >= 20, String(all.length))
  for (const text of all) {
    const form = read(text)
    assert.ok(form, `the form cannot show\n${text}`)
    assert.deepEqual(meant(write(form)), meant(text))
    assert.deepEqual(read(write(form)), form)
    // Nor when something else is changed in it.
    const changed = meant(write({ ...form, maxDuration: '3d' })) as Record<string, object>
    const wanted = meant(text) as Record<string, object>
    assert.deepEqual(changed, { ...wanted, spec: { ...wanted['spec'], maxDuration: '3d' } })
  }
})

test('what the form has no field for is kept, and goes only when it is removed', () => {
  const text = `apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: landing, labels: {team: web}}
spec:
  service: web
  match: {hosts: [shop.example], paths: [{prefix: /a}, {exact: /b}], headers: [{name: x-t, exact: a b}]}
  unit: {cookie: {name: weir-uid, generate: {lifetime: 30d, path: /a, sameSite: Strict, secure: false}}}
  versions: [{name: old, baseline: true, headers: {}}, {name: new, headers: {x-a: b}}]
  strategy: {ab: {weights: {old: 80%, new: 20%}}}
  guardrails: [{name: errors, errorRate: {ratio: 1.5, margin: 0.3%}}]
  reward: {request: {method: POST, path: {exact: /order}, hosts: [pay.example], cookie: {name: c, secure: false}}, direction: maximize}
  alpha: {rollBack: 0.05}
  failure: {codes: [500-599, 429], grpc: []}
  approvals: {start: true, step: false}
  onTimeout: rollBack
  future: {field: [1, {a: b}]}
`
  const form = read(text)
  assert.ok(form)
  assert.deepEqual(meant(write(form)), meant(text))
  assert.deepEqual(
    [form.unit, form.unitName, form.generate, form.lifetime, form.plainHttp, form.reward, form.failureCodes],
    ['cookie', 'weir-uid', true, '30d', true, 'request', '500-599, 429'],
  )
  assert.deepEqual(form.versions.map(({ headers, weight }) => [headers, weight]), [['', '80%'], ['x-a=b', '20%']]) // prettier-ignore
  assert.deepEqual(placesOf(form.rest).sort(), [
    'metadata.labels.team',
    'spec.alpha.rollBack',
    'spec.approvals.step',
    'spec.failure.grpc',
    'spec.future.field',
    'spec.match.headers',
    'spec.match.paths',
    'spec.onTimeout',
    'spec.reward.request.cookie.name',
    'spec.reward.request.hosts',
    'spec.unit.cookie.generate.path',
    'spec.unit.cookie.generate.sameSite',
  ])
  // A field of the form counts more than what was kept.
  assert.equal(plain(write({ ...form, onTimeout: 'pause' }))['spec']?.['onTimeout'], 'pause')
  const less = plain(write({ ...form, rest: without(form.rest, 'spec.future.field') }))
  assert.ok(!('future' in (less['spec'] ?? {})) && 'onTimeout' in (less['spec'] ?? {}))
})

test('each field of the form is read from the document as it was written', () => {
  const forms: Partial<Form>[] = [
    { unit: 'cookie', unitName: 'weir-uid', generate: true, plainHttp: true, lifetime: '7d', strategy: 'ab' },
    { reward: 'request', rewardStatus: '200, 201', rewardValue: 'x-order', rewardKind: 'real', plainHttp: true },
    { reward: 'api', apiHeader: 'x-token' },
    { reward: 'header', rewardHeader: 'x-clicked', rewardDirection: 'minimize' },
    { strategy: 'bandit', rule: 'topTwo', floor: '2%', maxStep: '10%', halfLife: 'never' },
    { strategy: 'canary', steps: '1%, 0.5' },
    { path: '/cart', pathKind: 'exact', share: '10%', headers: 'x-tenant=acme, x-beta', priority: '-5' },
    { override: 'x-tester', failureCodes: '500-599, 429', failureGrpc: '2, 14', measure: 'headers' },
    { alpha: '0.01', alphaPromotion: '0.05', deadline: '2s', bin: '1s', minExposures: '50', onTimeout: 'pause' },
    { versions: [version('a'), { ...version('b'), headers: 'x-a=b x-c=d' }], baseline: 1 },
  ]
  for (const part of forms) {
    const form = { ...EMPTY, ...part }
    assert.deepEqual(read(write(form)), form, write(form))
  }
  for (const not of ['', '[', 'a: 1', '- a', `${write(EMPTY)}---\n${write(EMPTY)}`]) assert.equal(read(not), null, not)
})

test('sources have the fingerprint by which a build of the controller sees that dist is old', () => {
  const root = mkdtempSync(join(tmpdir(), 'weir-sources-'))
  // As in controller/src/server/routes/dashboard.rs.
  mkdirSync(join(root, 'src/b'), { recursive: true })
  for (const [path, text] of [
    ['src/b/c.css', 'two\n'],
    ['src/a.ts', 'one é\n'],
    ['package.json', '{}'],
    ['README.md', 'x'],
  ] as const)
    writeFileSync(join(root, path), text)
  assert.equal(fingerprint(root), '14b4dbd5d3cb375a')
  rmSync(root, { recursive: true })
})

test('a rehearsal is the document as it is, and a scenario after it', () => {
  const document = `${write(EMPTY)}# by hand\n`
  const text = rehearsal(
    document,
    { traffic: '50/s', duration: '1d', behaviours: { v1: { errors: '0.5%', latency: '80ms', conversion: '10%' } } },
    false,
  )
  assert.ok(text.startsWith(document.trimEnd()))
  const [, scenario] = parseAllDocuments(text).map((each) => each.toJSON() as unknown)
  assert.deepEqual(scenario, {
    apiVersion: 'weir.dev/v1alpha1',
    kind: 'Scenario',
    traffic: '50/s',
    duration: '1d',
    versions: { v1: { errors: '0.5%', latency: '80ms' } },
  })
})

test('numbers are told as people read them, and a belief is never certain', () => {
  assert.deepEqual([percent(0.1245), percent(0.0049), percent(0), percent(1)], ['12.4%', '0.49%', '0%', '100%'])
  assert.deepEqual([weight(3_334), weight(10_000), weight(1)], ['33.34%', '100%', '0.01%'])
  assert.deepEqual(
    [milliseconds(18.4), milliseconds(240), milliseconds(1_500), milliseconds(20_000)],
    ['18 ms', '240 ms', '1.5 s', '20 s'],
  )
  assert.deepEqual(
    [stretch(999), stretch(61_000), stretch(3_600_000), stretch(90_000_000)],
    ['1 s', '1 m 1 s', '1 h', '1 d 1 h'],
  )
  // As the API's sentence beside it says it.
  assert.deepEqual([1, 120_001, 7_200_000, 172_800_000].map(roughly), ['a minute', '3 minutes', '2 hours', '2 days'])
  assert.deepEqual([eValue(0), eValue(Math.log(40)), eValue(99), eValue(-99)], ['1', '40', 'over 10,000', 'under 0.01'])
  assert.deepEqual([probability(1), probability(0), probability(null)], ['>\u00a099.9%', '<\u00a00.1%', '–'])
})

test('events are told whole wherever the stream is cut, and signs of life are none', async () => {
  // What belongs to a browser, and is not asked for here.
  Object.assign(globalThis, {
    document: { addEventListener: () => undefined, hidden: false },
    sessionStorage: { getItem: () => null },
  })
  const { events } = await import('../src/events')
  const stream =
    'retry: 2000\n\nid: 1-7\nevent: ready\ndata: {"missed":false}\n\n:\n\nid: 1-8\nevent: decision\ndata: {"name":"shop","action":"shift"}\n\n'
  for (const size of [1, 2, 7, 1_000]) {
    const told: string[][] = []
    const feed = events((...event) => told.push(event))
    for (let at = 0; at < stream.length; at += size) feed(stream.slice(at, at + size))
    assert.deepEqual(
      told,
      [
        ['ready', '1-7', '{"missed":false}'],
        ['decision', '1-8', '{"name":"shop","action":"shift"}'],
      ],
      `cut every ${size}`,
    )
  }
})
