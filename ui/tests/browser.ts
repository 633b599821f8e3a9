// Debian's Chromium, and what every page must keep: nothing asked of anybody but the controller, no error in its console, nothing serious that
// axe finds.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { chromium } from 'playwright-core'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

export async function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  })
}

export interface Watched {
  page: Page
  foreign: string[]
  complaints: string[]
  close: () => Promise<void>
}

/** A page in a browser of its own that writes down what should not happen. */
export async function open(browser: Browser, address: string, options: BrowserContextOptions = {}): Promise<Watched> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    reducedMotion: 'reduce',
    ...options,
  })
  const page = await context.newPage()
  page.setDefaultTimeout(15_000)
  const [foreign, complaints]: [string[], string[]] = [[], []]
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(address).origin) foreign.push(request.url())
  })
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('console', (message) => {
    // That the API refused something is told on the page; Chromium writes a line about each such answer all the same.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
      complaints.push(message.text())
  })
  await page.goto(address)
  return { page, foreign, complaints, close: () => context.close() }
}

interface Finding {
  id: string
  impact: string
  help: string
  nodes: { html: string; failureSummary?: string }[]
}

/** Whatever axe finds serious, in words; empty if nothing. */
export async function findings(page: Page): Promise<string[]> {
  // The page's own policy lets no foreign script in, so this one comes through the debugger.
  await page.evaluate(AXE)
  const found = (await page.evaluate(async () => {
    const axe = (globalThis as unknown as { axe: { run: (options: object) => Promise<{ violations: unknown[] }> } }).axe
    return (await axe.run({ resultTypes: ['violations'] })).violations
  })) as Finding[]
  return found
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(
      ({ id, help, nodes }) =>
        `${id}: ${help}\n${nodes
          .slice(0, 4)
          .map(({ html, failureSummary }) => `    ${html.slice(0, 200)}\n    ${failureSummary ?? ''}`)
          .join('\n')}`,
    )
}

export async function accessible(page: Page, what: string): Promise<void> {
  const found = await findings(page)
  assert.deepEqual(found, [], `axe finds on ${what}:\n${found.join('\n')}`)
}
