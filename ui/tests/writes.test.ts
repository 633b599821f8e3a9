// What a person asks for is done once, and overwrites nothing that somebody else did meanwhile; and what is not known is not told as known.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import type { Decision, Experiment } from '../src/types'
import { accessible, launch, open } from './browser'
import type { Watched } from './browser'
import { World, until } from './world'

const DOCUMENT = (name: string): string => `apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: ${name}}
spec:
  service: shop
  match: {hosts: [${name}.example]}
  versions: [{name: v1, baseline: true}, {name: v2}]
  objectives: [{name: errors, errorRate: {max: 2%}}]
`
let world: World
let browser: Browser
let person: Watched
let page: Page
before(async () => {
  world = new World()
  await world.serve()
  browser = await launch()
  person = await open(browser, `${world.controller}/`)
  page = person.page
})
after(async () => {
  await browser?.close()
  await world?.close()
})

const go = (hash: string): Promise<unknown> => page.goto(`${world.controller}/${hash}`)
const shown = (name: string): Promise<Experiment> => world.ask<Experiment>(`/v1/experiments/${name}`)
const decisions = (name: string): Promise<Decision[]> =>
  world.ask<{ decisions: Decision[] }>(`/v1/experiments/${name}/decisions`).then(({ decisions }) => decisions)

test('an answer that is lost is told as not known, and trying again does it once', async () => {
  await world.ask('/v1/experiments', DOCUMENT('lost'))
  await go('#/experiments/lost/decide')
  const keys: (string | undefined)[] = []
  // The controller does it; what it answers never arrives.
  await page.route('**/v1/experiments/lost/commands', async (route) => {
    keys.push(route.request().headers()['idempotency-key'])
    await route.fetch()
    await route.abort('connectionreset')
  })
  await page.getByRole('button', { name: 'Pause …' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('textbox').fill('a load test,\nuntil noon')
  await dialog.getByRole('button', { name: 'Pause', exact: true }).click()
  await dialog.getByRole('alert').waitFor()
  const said = await dialog.getByRole('alert').innerText()
  assert.match(said, /It is not known whether this was done\./)
  assert.doesNotMatch(said, /Nothing was changed/)
  await dialog.getByText('lost is paused, with v1', { exact: false }).waitFor()
  await accessible(page, 'a lost answer')
  assert.equal(await dialog.getByRole('textbox').getAttribute('readonly'), '', 'what is sent again is the same')
  await page.unroute('**/v1/experiments/lost/commands')
  const again = page.waitForRequest((request) => request.method() === 'POST')
  await dialog.getByRole('button', { name: 'Try again' }).click()
  keys.push((await again).headers()['idempotency-key'])
  await dialog.waitFor({ state: 'detached' })
  await page.getByText('Done.').waitFor()
  assert.ok(keys[0] && keys[0] === keys[1], `the same key: ${keys}`)
  const pauses = (await decisions('lost')).filter(({ action }) => action === 'pause')
  assert.equal(pauses.length, 1)
  assert.equal(pauses[0]?.ordered?.reason, 'a load test, until noon')
})

test('what is still under way, or asked for too often, is asked for again and not anew', async () => {
  await world.ask('/v1/experiments', DOCUMENT('slow'))
  await go('#/experiments/slow/decide')
  const keys: (string | undefined)[] = []
  const answers = [
    { status: 409, headers: { 'retry-after': '1' }, body: '{"status":409,"detail":"It is under way."}' },
    { status: 429, headers: { 'retry-after': '1' }, body: '{"status":429,"detail":"Too many requests."}' },
  ]
  await page.route('**/v1/experiments/slow/commands', async (route) => {
    keys.push(route.request().headers()['idempotency-key'])
    const answer = answers[keys.length - 2]
    if (keys.length === 1) await route.abort('connectionreset')
    else if (answer) await route.fulfill(answer)
    else await route.continue()
  })
  await page.getByRole('button', { name: 'Pause …' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('textbox').fill('lunch')
  await dialog.getByRole('button', { name: 'Pause', exact: true }).click()
  for (const said of ['does not answer', 'under way', 'Too many requests']) {
    await dialog.getByRole('alert').getByText(said, { exact: false }).waitFor()
    assert.equal(await dialog.getByRole('textbox').getAttribute('readonly'), '', said)
    await dialog.getByRole('button', { name: 'Try again' }).click()
  }
  await dialog.waitFor({ state: 'detached' })
  assert.ok(keys.length === 4 && keys.every((key) => key === keys[0]), `the same key: ${keys}`)
})

test('a refusal is not kept for the next attempt', async () => {
  await go('#/experiments/lost/decide')
  await page.getByRole('button', { name: 'Resume …' }).click()
  await world.ask('/v1/experiments/lost/commands', { command: 'resume', reason: 'somebody else was faster' })
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('textbox').fill('noon')
  await dialog.getByRole('button', { name: 'Resume', exact: true }).click()
  await dialog.getByRole('alert').waitFor()
  assert.match(await dialog.getByRole('alert').innerText(), /Nothing was changed\./)
  await world.ask('/v1/experiments/lost/commands', { command: 'pause', reason: 'and thought better of it' })
  await dialog.getByRole('button', { name: 'Resume', exact: true }).click()
  await dialog.waitFor({ state: 'detached' })
  assert.equal((await shown('lost')).phase, 'running')
})

test('what a decision led to is told at once, also where no events come', async () => {
  const other = await open(browser, 'about:blank')
  await other.page.route('**/v1/events', (route) => route.abort())
  await other.page.goto(`${world.controller}/#/experiments/lost/decide`)
  await other.page.getByText('It runs,', { exact: false }).first().waitFor()
  await other.page.getByRole('button', { name: 'Pause …' }).click()
  await other.page.getByRole('dialog').getByRole('textbox').fill('lunch')
  await other.page.getByRole('dialog').getByRole('button', { name: 'Pause', exact: true }).click()
  await other.page.getByText('Done.').waitFor()
  // Without a decision the story is read every five seconds.
  await other.page.getByText('It runs,', { exact: false }).first().waitFor({ state: 'detached', timeout: 1_500 })
  await world.ask('/v1/experiments/lost/commands', { command: 'resume', reason: 'lunch is over' })
  await other.close()
})

test('no choice of the form is cut off, whichever is chosen', async () => {
  await go('#/new')
  // A reward and what follows from it, so that whatever the form can ask is there.
  await page.getByLabel('Reward', { exact: true }).selectOption('header')
  await page.getByLabel('Strategy', { exact: true }).selectOption('bandit')
  const selects = page.locator('form select, fieldset select')
  assert.ok((await selects.count()) > 5)
  const cut = await selects.evaluateAll((all) =>
    (all as HTMLSelectElement[])
      .filter((select) => select.offsetParent)
      .flatMap((select) => {
        // As wide as it would like to be: for its longest choice, and the arrow.
        const like = select.cloneNode(true) as HTMLSelectElement
        Object.assign(like.style, { position: 'absolute', width: 'max-content', visibility: 'hidden' })
        select.parentElement?.append(like)
        const wanted = like.offsetWidth
        like.remove()
        return wanted > select.offsetWidth
          ? [`${select.labels[0]?.innerText}: ${wanted} of ${select.offsetWidth} px`]
          : []
      }),
  )
  assert.deepEqual(cut, [])
})

test('what somebody else created meanwhile is not changed by who meant to create', async () => {
  await go('#/new')
  await page.getByLabel('Name', { exact: true }).fill('twice')
  await page.getByLabel('Hosts', { exact: true }).fill('twice.example')
  await page.getByText('It would create twice.').waitFor()
  await page.getByRole('button', { name: 'Apply …' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.waitFor()
  await world.ask('/v1/experiments', DOCUMENT('twice'))
  await dialog.getByRole('button', { name: 'Apply', exact: true }).click()
  await dialog.getByRole('alert').waitFor()
  assert.match(await dialog.getByRole('alert').innerText(), /Nothing was changed\..*experiment `twice` already/s)
  assert.equal((await shown('twice')).document, DOCUMENT('twice'))
})

test('an edit goes on while weights move, and overwrites nobody', async () => {
  await world.ask('/v1/experiments', DOCUMENT('edited'))
  const edit = async (line: string): Promise<void> => {
    await go('#/')
    await go('#/experiments/edited/edit')
    const document = page.getByLabel('The document, YAML')
    await document.waitFor()
    await document.fill(`${(await shown('edited')).document}  ${line}\n`)
    await page.getByText('It would change edited.').waitFor()
    await page
      .getByText(line.split(':')[0] ?? '', { exact: false })
      .last()
      .waitFor()
    await page.getByRole('button', { name: 'Apply …' }).click()
    await page.getByRole('dialog').waitFor()
  }
  const dialog = page.getByRole('dialog')
  await edit('maxDuration: 3d')
  // The tag is another one, the document is the same.
  await world.ask('/v1/experiments/edited/commands', {
    command: 'setWeights',
    weights: { v1: 9_000, v2: 1_000 },
    reason: 'a load test',
  })
  await dialog.getByRole('button', { name: 'Apply', exact: true }).click()
  await page.getByRole('heading', { name: 'edited', exact: true }).waitFor()
  assert.equal((await shown('edited')).experiment.maxDurationMs, 3 * 86_400_000)

  await edit('minExposures: 77')
  const theirs = `${(await shown('edited')).document}  minExposures: 300\n`
  await world.ask('/v1/experiments', theirs)
  await dialog.getByRole('button', { name: 'Apply', exact: true }).click()
  await dialog.getByRole('alert').waitFor()
  assert.match(await dialog.getByRole('alert').innerText(), /Nothing was changed\..*Somebody changed edited/s)
  assert.equal((await shown('edited')).document, theirs)
  await dialog.getByRole('button', { name: 'Leave it as it is' }).click()
  await page.getByRole('button', { name: 'Read it anew' }).click()
  await until(
    'their document is there',
    async () => (await page.getByLabel('The document, YAML').inputValue()) === theirs,
  )
})

test('a lost answer to an edit is sent again as it was, and counts once', async () => {
  await world.ask('/v1/experiments', DOCUMENT('again'))
  await go('#/experiments/again/edit')
  const document = page.getByLabel('The document, YAML')
  const changed = `${DOCUMENT('again')}  minExposures: 55\n`
  await document.fill(changed)
  await page.getByText('It would change again.').waitFor()
  await page.route('**/v1/experiments', async (route) => {
    if (route.request().method() !== 'POST') return route.continue()
    await route.fetch()
    await route.abort('connectionreset')
  })
  await page.getByRole('button', { name: 'Apply …' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('button', { name: 'Apply', exact: true }).click()
  await dialog.getByText('again is there, with this document.').waitFor()
  await page.unroute('**/v1/experiments')
  await dialog.getByRole('button', { name: 'Try again' }).click()
  await page.getByRole('heading', { name: 'again', exact: true }).waitFor()
  assert.equal((await shown('again')).document, changed)
})

test('the form opens with a name and a host that nobody has', async () => {
  await world.ask('/v1/experiments', DOCUMENT('checkout').replace('checkout.example', 'shop.example'))
  await go('#/')
  await go('#/new')
  await page.getByText('It would create checkout-2.').waitFor()
  assert.equal(await page.getByLabel('Name', { exact: true }).getAttribute('aria-invalid'), null)
})

test('what the form has fields for is what the controller reads: given cookies, a conversion, bounds and the rest', async () => {
  await go('#/')
  await go('#/new')
  await page.getByLabel('Name', { exact: true }).fill('landing')
  await page.getByLabel('Hosts', { exact: true }).fill('landing.example')
  await page.getByLabel('What is randomised').selectOption('cookie')
  await page.getByLabel('Whoever has no such cookie is given one').check()
  await page.getByLabel('Strategy').selectOption('ab')
  await page.getByLabel('Weight of v1').fill('80%')
  await page.getByLabel('Weight of v2').fill('20%')
  await page.getByRole('button', { name: 'Remove the limit errors' }).click()
  await page.getByLabel('Reward', { exact: true }).selectOption('request')
  await page.getByLabel('Path of the conversion').fill('/pay')
  await page.getByLabel('Browsers come over plain HTTP').check()
  await page.getByText('Which requests, and which are failures', { exact: true }).first().click()
  await page.getByLabel('Priority').fill('7')
  await page.getByLabel('Override header').fill('x-tester')
  await page.getByLabel('Status codes that are failures').fill('500-599, 429')
  await page.getByText('It would create landing.').waitFor()
  await accessible(page, 'the whole form')
  await page.getByRole('button', { name: 'Apply …' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Apply', exact: true }).click()
  await page.getByRole('heading', { name: 'landing', exact: true }).waitFor()
  const read = (await shown('landing')).experiment as unknown as Record<string, unknown>
  const told = JSON.stringify(read)
  for (const part of ['"priority":7', 'x-tester', '429', '/pay', '[8000,2000]', 'weir-uid'])
    assert.ok(told.includes(part), `${part} in ${told}`)
  assert.ok(!told.includes('Secure'), 'cookies that plain HTTP keeps')
})

test('the form follows a document that is typed, and keeps what it has no field for when one of its own is changed', async () => {
  const labelled = DOCUMENT('labelled').replace('labelled}', 'labelled, labels: {team: web}}  # ours')
  await world.ask('/v1/experiments', labelled)
  await go('#/experiments/labelled/edit')
  await page.getByText('labelled is just so already').waitFor()
  await page.getByText('metadata.labels.team').waitFor()
  await page.getByText('Time and error', { exact: true }).first().click()
  await page.getByLabel('Longest duration').fill('3d')
  await page.getByText('It would change labelled.').waitFor()
  await page.getByRole('button', { name: 'Apply …' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Apply', exact: true }).click()
  await page.getByRole('heading', { name: 'labelled', exact: true }).waitFor()
  assert.match((await shown('labelled')).document ?? '', /team: web/)
  assert.equal((await shown('labelled')).experiment.maxDurationMs, 3 * 86_400_000)
  await go('#/new')
  const document = page.getByLabel('The document, YAML')
  await document.fill(DOCUMENT('followed'))
  await until(
    'the form has it',
    async () => (await page.getByLabel('Name', { exact: true }).inputValue()) === 'followed',
  )
  await document.fill('not: a document')
  await page.getByText('The form cannot show it.').waitFor()
})

test('where nothing is, that is said, with a way back', async () => {
  for (const [hash, heading] of [
    ['#/bogus', 'There is no such page'],
    ['#/experiments/lost/bogus', 'There is no such page'],
    ['#/experiments/none', 'There is no experiment none'],
    ['#/experiments/none/decide', 'There is no experiment none'],
    ['#/experiments/none/edit', 'There is no experiment none'],
  ] as const) {
    await go('#/')
    await go(hash)
    await page.getByRole('heading', { name: heading }).waitFor()
    await accessible(page, hash)
    await page.getByRole('link', { name: 'All experiments' }).click()
    await page.getByRole('heading', { name: 'What is running?' }).waitFor()
  }
  assert.deepEqual(person.complaints, [])
})
