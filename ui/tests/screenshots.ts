// Pictures of each page, of a real experiment: `make screenshots` writes them into docs/images.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { launch, open } from './browser'
import { World, root, until } from './world'
import type { Experiment } from '../src/types'

const FOLDER = process.env['SCREENSHOTS'] ?? join(root, 'docs/images')
const SHOP = `apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: shop}
spec:
  service: shop
  match: {hosts: [shop.example]}
  versions: [{name: v1, baseline: true}, {name: v2}, {name: v3}]
  strategy: {bandit: {floor: 5%, maxStep: 20%}}
  objectives: [{name: errors, errorRate: {max: 2%}}, {name: p99, latency: {quantile: 99%, max: 400ms}}]
  reward: {responseHeader: x-weir-reward, direction: maximize}
  deadline: 2s
  bin: 1s
  minExposures: 200
  approvals: {promotion: true}
`
const OTHER = (name: string, service: string, extra: string): string => `apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: ${name}}
spec:
  service: ${service}
  match: {hosts: [${name}.example]}
  versions: [{name: v7, baseline: true}, {name: v8}]
  guardrails: [{name: errors, errorRate: {ratio: 1, margin: 0.5%}}]
  ${extra}
`

const world = new World()
try {
  mkdirSync(FOLDER, { recursive: true })
  await world.serve()
  await world.traffic(250)
  await world.ask('/v1/experiments', SHOP)
  await world.ask('/v1/experiments', OTHER('search', 'search', 'approvals: {start: true}'))
  await world.ask('/v1/experiments', OTHER('basket', 'basket', 'strategy: {canary: {steps: [5%, 50%]}}'))
  await world.ask('/v1/experiments/basket/commands', { command: 'stop', reason: 'asked the wrong question' })
  const browser = await launch()
  await until(
    'v3 is rolled back and a promotion waits',
    async () => {
      const shop = await world.ask<Experiment>('/v1/experiments/shop')
      return shop.state.out[2] && shop.state.awaited ? shop : undefined
    },
    180_000,
  )

  const shoot = async (
    name: string,
    hash: string,
    options: Parameters<typeof open>[2],
    before?: (page: Awaited<ReturnType<typeof open>>['page']) => Promise<void>,
    whole = true,
  ): Promise<void> => {
    const { page, close } = await open(browser, `${world.controller}/${hash}`, options)
    await page.waitForSelector('h1')
    await page.waitForLoadState('networkidle', { timeout: 3_000 }).catch(() => undefined)
    await before?.(page)
    await page.evaluate(() => scrollTo(0, 0))
    await page.screenshot({ path: join(FOLDER, `${name}.png`), fullPage: whole })
    await close()
  }
  const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 1, isMobile: true, hasTouch: true }
  await shoot('list', '#/', {})
  await shoot('experiment', '#/experiments/shop', {}, async (page) => {
    await page.waitForSelector('text=Latencies as counted')
    await page.getByRole('button', { name: 'Show how it grew' }).click()
    await page
      .getByRole('img', { name: /over time\./ })
      .last()
      .waitFor()
  })
  await shoot(
    'experiment-dark',
    '#/experiments/shop',
    { colorScheme: 'dark' },
    async (page) => {
      await page.waitForSelector('text=Latencies as counted')
    },
    false,
  )
  await shoot(
    'experiment-phone',
    '#/experiments/shop',
    phone,
    async (page) => {
      await page.waitForSelector('text=Latencies as counted')
    },
    false,
  )
  await shoot('decide', '#/experiments/shop/decide', {})
  await shoot(
    'confirm',
    '#/experiments/shop/decide',
    {},
    async (page) => {
      await page.getByRole('button', { name: 'Approve …' }).click()
      await page.getByRole('dialog').waitFor()
    },
    false,
  )
  await shoot('create', '#/new', {}, async (page) => {
    await page.getByRole('textbox', { name: 'Hosts' }).fill('checkout.example')
    await page.getByText('It would create checkout.').waitFor()
    await page.getByRole('textbox', { name: 'Errors of v2' }).fill('4%')
    await page.getByRole('button', { name: 'Rehearse' }).click()
    await page.getByText('One run.').waitFor()
  })
  // What becomes of the service: v2 is promoted, then v3 is tried once more and rolled back.
  const { state } = await world.ask<Experiment>('/v1/experiments/shop')
  await world.ask('/v1/experiments/shop/commands', {
    command: 'approve',
    awaitedSince: state.awaited?.since,
    reason: 'seen the dashboard',
  })
  await fetch(`${world.controller}/v1/experiments/shop?reason=the%20routes%20send%20everything%20to%20v2%20by%20now`, {
    method: 'DELETE',
  })
  await world.ask(
    '/v1/experiments',
    SHOP.replace('name: shop}', 'name: shop-again}').replace(
      '[{name: v1, baseline: true}, {name: v2}, {name: v3}]',
      '[{name: v2, baseline: true}, {name: v3}]',
    ),
  )
  await until(
    'v3 is rolled back once more',
    async () => (await world.ask<Experiment>('/v1/experiments/shop-again')).phase === 'concluded',
    120_000,
  )
  await shoot('service', '#/services/shop', {}, async (page) => {
    await page.getByText('What happened').waitFor()
  })
  await browser.close()
} finally {
  await world.close()
}
