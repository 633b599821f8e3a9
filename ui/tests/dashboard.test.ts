// A person at the dashboard of a real controller, fed by a real Envoy: creates an experiment in the form, rehearses it, watches it move, approves
// a step, sets weights, rolls back, and sees the trend.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import type { Experiment } from '../src/types'
import { accessible, launch, open } from './browser'
import type { Watched } from './browser'
import { World, until } from './world'

let world: World
let browser: Browser
let person: Watched
let page: Page

before(async () => {
  world = new World()
  await world.serve()
  await world.traffic(200)
  browser = await launch()
  person = await open(browser, `${world.controller}/`)
  page = person.page
})
after(async () => {
  await browser?.close()
  await world?.close()
})

const shop = (): Promise<Experiment> => world.ask<Experiment>('/v1/experiments/shop')

/** Confirms what a dialog asks about, after a look at what it says will follow. */
async function confirm(verb: string, consequence: RegExp, reason?: string): Promise<void> {
  const dialog = page.getByRole('dialog')
  await dialog.waitFor()
  assert.match(await dialog.innerText(), consequence)
  await accessible(page, `the confirmation of ${verb}`)
  const button = dialog.getByRole('button', { name: verb, exact: true })
  if (reason) {
    assert.ok(await button.isDisabled(), 'nothing is done without a reason')
    await dialog.getByRole('textbox').fill(reason)
  }
  await button.click()
  await dialog.waitFor({ state: 'detached' })
}

test('an empty controller says what to do first', async () => {
  await page.getByRole('heading', { name: 'What is running?' }).waitFor()
  await page.getByText('There is no experiment.').waitFor()
  await accessible(page, 'the empty list')
})

test('the form writes the document as one types, and says what is wrong where it is wrong', async () => {
  await page.getByRole('link', { name: 'Create', exact: true }).click()
  await page.getByRole('heading', { name: 'Create an experiment' }).waitFor()
  const document = page.getByLabel('The document, YAML')
  await page.getByLabel('Name', { exact: true }).fill('Shop!')
  await until('the document has the name', async () => /name: Shop!/.test(await document.inputValue()))
  const field = page.getByLabel('Name', { exact: true })
  await until('the field says what is wrong', async () => (await field.getAttribute('aria-invalid')) === 'true')
  assert.equal(await document.getAttribute('aria-invalid'), 'true')
  await accessible(page, 'the form with a problem')
  await page
    .getByRole('button', { name: /^Line \d+$/ })
    .first()
    .click()
  assert.equal(
    await document.evaluate((area: HTMLTextAreaElement) =>
      area.value.slice(area.selectionStart, area.selectionEnd).includes('Shop!'),
    ),
    true,
  )
  await field.fill('shop')
  await page.getByLabel('Service', { exact: true }).fill('shop')
  await page.getByLabel('Hosts', { exact: true }).fill('shop.example')
  await page.getByRole('button', { name: 'Add a version' }).click()
  // Wider than any version's errors: nobody is rolled back but by hand.
  await page.getByLabel('At most', { exact: true }).fill('20%')
  await page.getByLabel('Reward', { exact: true }).selectOption('header')
  await page.getByLabel('A person approves every step of weights').check()
  await page.getByText('Time and error', { exact: true }).first().click()
  await page.getByLabel('Deadline of a request').fill('2s')
  await page.getByLabel('Bin', { exact: true }).fill('1s')
  await page.getByText('It would create shop.').waitFor()
  await accessible(page, 'the form')
})

test('what is typed into the document itself counts, and the form comes back when asked', async () => {
  const document = page.getByLabel('The document, YAML')
  const text = await document.inputValue()
  await document.fill(`${text}  minExposures: 50\n`)
  await page.getByText('The document was edited by hand').waitFor()
  await page.getByText('It would create shop.').waitFor()
  await page.getByRole('button', { name: 'Back to the form' }).click()
  assert.equal(await document.inputValue(), text)
})

test('it is rehearsed by the simulator before it is applied', async () => {
  await page.getByLabel('Errors of v3').fill('8%')
  await page.getByLabel('For at most').fill('30m')
  await page.getByText('It would create shop.').waitFor()
  await page.getByRole('button', { name: 'Rehearse', exact: true }).click()
  await page.getByText('One run.').waitFor({ timeout: 40_000 })
  const section = page.getByRole('region', { name: 'Rehearse it' })
  assert.match(await section.innerText(), /(After|broken off at) .*/)
  await accessible(page, 'the rehearsal')
  assert.deepEqual(
    await world.ask<{ experiments: [] }>('/v1/experiments').then(({ experiments }) => experiments.length),
    0,
    'nothing is applied by it',
  )
})

test('it is created after a confirmation that names the consequence', async () => {
  await page.getByRole('button', { name: 'Apply …' }).click()
  await confirm('Apply', /Requests for shop\.example are split at once/)
  await page.getByRole('heading', { name: 'shop', exact: true }).waitFor()
  assert.equal((await shop()).phase, 'running')
})

test('it is watched live: counts grow and a step comes to wait, without a reload', async () => {
  let loads = 0
  page.on('load', () => {
    loads += 1
  })
  await page
    .getByText('new weights wait for approval', { exact: false })
    .or(page.getByText('New weights wait for approval'))
    .first()
    .waitFor({ timeout: 90_000 })
  await page.getByRole('img', { name: /^Evidence against its limits/ }).waitFor()
  await page.getByRole('img', { name: /^Error rate/ }).waitFor({ timeout: 30_000 })
  await page.getByRole('img', { name: /^Latencies as counted/ }).waitFor()
  // A line that took its version's filling would hide what is behind it.
  const lines = page.locator('figure.chart path.line')
  assert.ok((await lines.count()) > 3)
  for (const line of await lines.all()) assert.equal(await line.evaluate((path) => getComputedStyle(path).fill), 'none')
  await page.getByRole('button', { name: 'Show how it grew' }).click()
  const grew = page.getByRole('img', { name: /^Evidence that .*, over time\. .* is acted on/ })
  await grew.waitFor()
  assert.ok((await grew.locator('line.limit').count()) > 0, 'what it needs is a line')
  assert.ok(
    (
      await grew
        .locator('path.line')
        .evaluateAll((all) => all.filter((each) => /L|H|V/.test(each.getAttribute('d') ?? '')))
    ).length > 0,
  )
  assert.equal(loads, 0)
  await page.locator('figure.chart summary').first().click()
  await accessible(page, 'the experiment')
})

test('a step is approved as it was shown', async () => {
  await page.getByRole('link', { name: 'Let me decide' }).click()
  await page.getByRole('heading', { name: 'Decide: shop' }).waitFor()
  const focused = () => page.evaluate(() => document.activeElement?.textContent)
  await until('focus is on the heading of the page that was gone to', async () => (await focused()) === 'Decide: shop')
  await accessible(page, 'the decisions')
  // What waits is proposed anew when an epoch ends; then the person is told, and looks again.
  await until(
    'an approval is taken',
    async () => {
      const before = (await shop()).state.epochs.length
      const button = page.getByRole('button', { name: 'Approve …' })
      if (!(await button.isVisible())) return undefined
      await button.click()
      const dialog = page.getByRole('dialog')
      assert.match(await dialog.innerText(), /Weights become v1 [\d.]+%/)
      await dialog.getByRole('textbox').fill('seen the dashboard')
      await dialog.getByRole('button', { name: 'Approve', exact: true }).click()
      await Promise.race([dialog.waitFor({ state: 'detached' }), dialog.getByRole('alert').waitFor()])
      if (await dialog.isVisible()) {
        await dialog.getByRole('button', { name: 'Leave it as it is' }).click()
        return undefined
      }
      return (await shop()).state.epochs.length > before
    },
    60_000,
  )
  await page.getByText('Done.').waitFor()
})

test('weights are set with sliders that sum to the whole, by keyboard too', async () => {
  const slider = page.getByRole('slider', { name: 'v2' })
  await slider.focus()
  await page.keyboard.press('End')
  await page.keyboard.press('ArrowLeft')
  assert.equal(await slider.inputValue(), '9900')
  const all = await page
    .getByRole('slider')
    .evaluateAll((sliders) => sliders.map((each) => Number((each as HTMLInputElement).value)))
  assert.equal(await page.locator('output').innerText(), '100%')
  assert.ok(Math.abs(all.reduce((sum, each) => sum + each, 0) - 10_000) <= 100, 'sliders show steps of 1%')
  await page.getByRole('spinbutton', { name: 'Weight of v1 in percent' }).fill('42.5')
  await page.keyboard.press('Tab')
  await page.getByRole('button', { name: 'Set weights …' }).click()
  await confirm('Set weights', /Traffic goes v1 42\.5%, v2 .* and the experiment is paused/s, 'a load test')
  const { phase, weights } = await shop()
  assert.equal(phase, 'paused')
  assert.equal(weights[0]?.weight, 4_250)
  assert.equal(
    weights.reduce((sum, { weight }) => sum + weight, 0),
    10_000,
  )
  await page.getByRole('heading', { name: 'Resume' }).waitFor()
})

test('one version is rolled back, and the log says who and why', async () => {
  await page.getByLabel('Version to roll back').selectOption('v3')
  await page.getByRole('button', { name: 'Roll back …' }).click()
  await confirm('Roll back v3', /v3 gets no more traffic at once, and never again/, 'a wrong build')
  assert.equal((await shop()).state.out[2], true)
  await page.getByRole('link', { name: 'How is it doing?' }).click()
  await page.getByText('a wrong build').waitFor()
  assert.match(await page.locator('ol.log').innerText(), /dashboard/)
})

test('what is refused is told in words, with what to do', async () => {
  // Somebody else resumes it meanwhile.
  await page.getByRole('link', { name: 'Let me decide' }).click()
  await page.getByRole('button', { name: 'Resume …' }).click()
  await world.ask('/v1/experiments/shop/commands', { command: 'resume', reason: 'the sale is over' })
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('textbox').fill('me too')
  await dialog.getByRole('button', { name: 'Resume', exact: true }).click()
  await dialog.getByRole('alert').waitFor()
  assert.match(await dialog.getByRole('alert').innerText(), /Nothing was changed\..*not paused.*decide anew/s)
  await page.keyboard.press('Escape')
  await dialog.waitFor({ state: 'detached' })
})

test('a promotion against the evidence says so, and the trend marks the change', async () => {
  await page.getByLabel('Version to promote').selectOption('v2')
  await page.getByRole('button', { name: 'Promote …' }).click()
  await confirm('Promote v2', /v2 gets all traffic at once/, 'needed for the launch')
  assert.equal((await shop()).phase, 'concluded')
  await page.getByRole('link', { name: 'shop', exact: true }).click()
  await page.getByRole('heading', { name: 'How has shop evolved?' }).waitFor()
  await page.getByText('v2 serves instead of v1.').waitFor()
  await page.getByRole('img', { name: /^Error rate.*1 change of what serves/ }).waitFor()
  await accessible(page, 'the trend')
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Download as CSV' }).click(),
  ])
  const stream = await download.createReadStream()
  let text = ''
  for await (const chunk of stream) text += String(chunk)
  assert.match(text, /^experiment,id,/)
  assert.ok(text.includes('"shop"') && text.includes('errorRate'), text)
})

test('the list finds it by search and filter', async () => {
  await page.getByRole('link', { name: 'Experiments', exact: true }).click()
  await page.getByRole('searchbox').fill('nothing like it')
  await page.getByText('No experiment is like that.').waitFor()
  await page.getByRole('searchbox').fill('v3 shop')
  await page.getByRole('link', { name: 'shop', exact: true }).first().waitFor()
  await page.getByRole('radio', { name: 'Under way' }).check()
  await page.getByText('No experiment is like that.').waitFor()
  await page.getByRole('radio', { name: 'All' }).check()
  await accessible(page, 'the list')
})

const PAGES = [
  '#/',
  '#/experiments/shop',
  '#/experiments/shop/decide',
  '#/experiments/shop/edit',
  '#/experiments/none',
  '#/new',
  '#/services',
  '#/services/shop',
  '#/bogus',
]

/** For whoever hears a page: one heading of the first level and none left out below it, and each chart as a table, too. */
async function readable(page: Page, what: string): Promise<void> {
  const levels = await page
    .locator(':is(h1, h2, h3, h4, h5, h6)')
    .evaluateAll((all) => all.map(({ tagName }) => Number(tagName[1])))
  assert.equal(levels.filter((level) => level === 1).length, 1, `${what}: ${levels}`)
  levels.forEach((level, at) => assert.ok(level <= (levels[at - 1] ?? 0) + 1, `${what}: ${levels}`))
  const mute = await page
    .locator('figure.chart')
    .evaluateAll(
      (all) =>
        all.filter((each) => !each.querySelector('svg[aria-label], div') || !each.querySelector('details table tbody'))
          .length,
    )
  assert.equal(mute, 0, `${what} has charts without a table`)
}

test('focus goes into a dialog, stays there, and comes back; and the skip link leads to the content', async () => {
  await page.goto(`${world.controller}/#/experiments/shop/decide`)
  const button = page.getByRole('button', { name: 'Delete …' })
  await button.focus()
  await page.keyboard.press('Enter')
  const dialog = page.getByRole('dialog')
  await dialog.waitFor()
  const inside = (): Promise<boolean> => page.evaluate(() => !!document.activeElement?.closest('dialog'))
  for (let tab = 0; tab < 6; tab += 1) {
    assert.ok((await inside()) || (await page.evaluate(() => document.activeElement === document.body)), `after ${tab}`)
    await page.keyboard.press('Tab')
  }
  await page.keyboard.press('Escape')
  await dialog.waitFor({ state: 'detached' })
  assert.ok(await button.evaluate((each) => each === document.activeElement), 'focus is back where it was')
  await page.reload()
  await page.getByRole('heading', { name: 'Decide: shop' }).waitFor()
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'main')
  await page.goto(`${world.controller}/#/`)
})

test('a phone and the dark: nothing is wider than the screen, and contrast is kept', async () => {
  for (const [what, options] of [
    ['a phone', { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true }],
    ['the dark', { colorScheme: 'dark' as const }],
  ] as const) {
    for (const hash of PAGES) {
      const other = await open(browser, `${world.controller}/${hash}`, options)
      await other.page.locator('h1').waitFor()
      await other.page.waitForTimeout(600)
      const wide = await other.page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      )
      assert.ok(wide <= 0, `${hash} is ${wide} px wider than ${what}`)
      await accessible(other.page, `${hash} on ${what}`)
      await readable(other.page, hash)
      assert.deepEqual([other.foreign, other.complaints], [[], []])
      await other.close()
    }
  }
})

test('nothing was asked of anybody but the controller, and nothing complained', () => {
  assert.deepEqual(person.foreign, [])
  assert.deepEqual(person.complaints, [])
})

test('a controller that does not answer is told in words, and what was known stays', async () => {
  await world.end('weir')
  await page.getByText('The controller does not answer.').waitFor()
  await page.getByText('This page tries again by itself.', { exact: false }).waitFor()
  assert.ok(await page.getByRole('link', { name: 'shop', exact: true }).first().isVisible())
})
