// With tokens: no token gets nothing, a viewer's changes nothing, and the page says so in words.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Browser } from 'playwright-core'
import type { Experiment } from '../src/types'
import { accessible, findings, launch, open } from './browser'
import { World } from './world'

const DOCUMENT = `apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: shop}
spec:
  service: shop
  versions: [{name: v1, baseline: true}, {name: v2}]
  objectives: [{name: errors, errorRate: {max: 2%}}]
  approvals: {start: true}
`
let world: World
let browser: Browser
before(async () => {
  world = new World()
  await world.serve('--token', 'operator:ada=opener', '--token', 'viewer:eve=looker', '--token', 'proxy=proxy')
  await world.ask('/v1/experiments', DOCUMENT, { authorization: 'Bearer opener' })
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await world?.close()
})

test('without a token nothing is shown but where to enter one, and a wrong one is refused in words', async () => {
  const { page, close } = await open(browser, `${world.controller}/#/experiments/shop`)
  await page.getByRole('heading', { name: 'Who are you?' }).waitFor()
  assert.ok(!(await page.locator('main').innerText()).includes('v1'))
  await accessible(page, 'the token form')
  await page.getByLabel('Token').fill('wrong')
  await page.getByRole('button', { name: 'Continue' }).click()
  await page.getByText('does not know this token').waitFor()
  await page.getByLabel('Token').fill('proxy')
  await page.getByRole('button', { name: 'Continue' }).click()
  await page.getByText('that asks for the role', { exact: false }).waitFor()
  assert.equal(
    await page.evaluate(() => sessionStorage.length + localStorage.length),
    0,
    'a token that does not work is not kept',
  )
  await close()
})

test('a viewer sees everything and changes nothing', async () => {
  const { page, close } = await open(browser, `${world.controller}/`)
  await page.getByLabel('Token').fill('looker')
  await page.getByRole('button', { name: 'Continue' }).click()
  await page.getByRole('link', { name: 'shop', exact: true }).first().click()
  await page.getByRole('link', { name: 'Let me decide' }).click()
  await page
    .getByText('The token of eve has the role viewer: it looks, and changes nothing.', { exact: false })
    .waitFor()
  const buttons = page.getByRole('group', { name: 'Decisions' }).getByRole('button')
  assert.ok((await buttons.count()) >= 3)
  for (const button of await buttons.all()) assert.ok(await button.isDisabled(), await button.innerText())
  await accessible(page, 'the decisions of a viewer')
  await page.goto(`${world.controller}/#/experiments/shop/edit`)
  await page.getByText('it looks, and changes nothing.', { exact: false }).waitFor()
  assert.ok(await page.getByRole('button', { name: 'Apply …' }).isDisabled())
  assert.equal(await page.getByRole('alert').count(), 0, 'nothing is asked that would be refused')
  await close()
})

test('where it is not known who asks, what is refused is said in words', async () => {
  const { page, close } = await open(browser, `${world.controller}/`)
  await page.route('**/v1/whoami', (route) => route.abort())
  await page.getByLabel('Token').fill('looker')
  await page.getByRole('button', { name: 'Continue' }).click()
  await page.getByRole('link', { name: 'shop', exact: true }).first().click()
  await page.getByRole('link', { name: 'Let me decide' }).click()
  await page.getByRole('button', { name: 'Start …' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('textbox').fill('now')
  await dialog.getByRole('button', { name: 'Start', exact: true }).click()
  await dialog.getByRole('alert').waitFor()
  assert.match(await dialog.getByRole('alert').innerText(), /Nothing was changed\..*takes the role operator/s)
  const shop = await world.ask<Experiment>('/v1/experiments/shop', undefined, { authorization: 'Bearer looker' })
  assert.equal(shop.phase, 'pending')
  await close()
})

test('a token lasts for the tab: through a reload, not into another one, and until it is forgotten', async () => {
  const { page, close } = await open(browser, `${world.controller}/`)
  await page.getByLabel('Token').fill('opener')
  await page.getByRole('button', { name: 'Continue' }).click()
  await page.getByRole('link', { name: 'shop', exact: true }).first().waitFor()
  await page.reload()
  await page.getByRole('link', { name: 'shop', exact: true }).first().waitFor()
  assert.equal(await page.evaluate(() => localStorage.length + document.cookie.length), 0)
  const other = await page.context().newPage()
  await other.goto(`${world.controller}/`)
  await other.getByRole('heading', { name: 'Who are you?' }).waitFor()
  await page.getByRole('button', { name: 'Forget token' }).click()
  await page.getByRole('heading', { name: 'Who are you?' }).waitFor()
  assert.equal(await page.evaluate(() => sessionStorage.length), 0)
  await close()
})

test('an operator starts it, and is known by the name of the token', async () => {
  const { page, close, complaints } = await open(browser, `${world.controller}/#/experiments/shop/decide`)
  await page.getByLabel('Token').fill('opener')
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Start …' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('textbox').fill('all hands are here')
  await dialog.getByRole('button', { name: 'Start', exact: true }).click()
  await page.getByText('Done.').waitFor()
  await page.getByRole('link', { name: 'How is it doing?' }).click()
  await page.getByText('by ada', { exact: false }).first().waitFor()
  assert.deepEqual(complaints, [])
  await close()
})

test('a document is changed where it was written, and what becomes of the weights is said before', async () => {
  const { page, close } = await open(browser, `${world.controller}/#/experiments/shop/edit`)
  await page.getByLabel('Token').fill('opener')
  await page.keyboard.press('Enter')
  const document = page.getByLabel('The document, YAML')
  await page.getByText('shop is just so already').waitFor()
  assert.ok(await page.getByRole('button', { name: 'Apply …' }).isDisabled(), 'there is nothing to apply')
  await document.fill(DOCUMENT.replace('max: 2%', 'max: 3%'))
  await page.getByText('spec.objectives').first().waitFor()
  await document.fill(`${DOCUMENT}  maxDuration: 3d\n`)
  await page.getByText('It would change shop.').waitFor()
  await page.getByText('maxDuration 7d → 3d', { exact: false }).first().waitFor()
  await accessible(page, 'a change')
  await page.getByRole('button', { name: 'Apply …' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Apply', exact: true }).click()
  await page.getByRole('heading', { name: 'shop', exact: true }).waitFor()
  const shop = await world.ask<Experiment>('/v1/experiments/shop', undefined, { authorization: 'Bearer looker' })
  assert.equal(shop.experiment.maxDurationMs, 3 * 86_400_000)
  await close()
})

test('axe is really at work: what it is shown to be wrong with, it finds', async () => {
  const { page, close } = await open(browser, `${world.controller}/`)
  await page.getByRole('heading', { name: 'Who are you?' }).waitFor()
  assert.deepEqual(await findings(page), [])
  await page.evaluate(() => document.querySelector('main')?.append(document.createElement('input')))
  assert.match((await findings(page)).join(), /label/)
  await close()
})

test('the page’s own policy lets nothing in from elsewhere, whatever is written into it', async () => {
  const { page, close } = await open(browser, `${world.controller}/`)
  const refused = await page.evaluate(async () => {
    const told: string[] = []
    document.addEventListener('securitypolicyviolation', (event) => told.push(event.effectiveDirective))
    const script = document.createElement('script')
    script.src = 'http://elsewhere.example/x.js'
    document.head.append(script)
    const inline = document.createElement('script')
    inline.textContent = 'globalThis.ran = true'
    document.head.append(inline)
    await fetch('http://elsewhere.example/').catch(() => undefined)
    await new Promise((resolve) => setTimeout(resolve, 300))
    return { told, ran: 'ran' in globalThis }
  })
  assert.equal(refused.ran, false)
  assert.ok(
    refused.told.includes('connect-src') &&
      refused.told.filter((directive) => directive.startsWith('script-src')).length === 2,
    String(refused.told),
  )
  await close()
})
