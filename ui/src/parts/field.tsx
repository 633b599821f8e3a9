// A field of a form: its label, what it is for, and what the server says of it.

import type { ComponentChildren, JSX } from 'preact'
import { useId } from 'preact/hooks'
import type { Detail } from '../api'

interface Common {
  label: string
  hint?: string
  problems: Detail[]
}

/** The problems at a place of the document, or within it. */
export const at = (problems: Detail[], ...paths: string[]): Detail[] =>
  problems.filter(({ path }) =>
    paths.some((one) => path === one || path.startsWith(`${one}.`) || path.startsWith(`${one}[`)),
  )

function Field({
  label,
  hint,
  problems,
  wide,
  children,
}: Common & {
  wide?: boolean
  children: (props: { id: string; 'aria-describedby'?: string; 'aria-invalid'?: boolean }) => ComponentChildren
}): JSX.Element {
  const id = useId()
  const said = hint || problems.length > 0
  return (
    <div class={wide ? 'field wide' : 'field'}>
      <label for={id}>{label}</label>
      {children({
        id,
        ...(said ? { 'aria-describedby': `${id}-said` } : {}),
        ...(problems.length ? { 'aria-invalid': true } : {}),
      })}
      {said && (
        <div id={`${id}-said`} class={problems.length ? 'wrong' : 'hint'}>
          {problems.length ? problems.map(({ message }) => <p key={message}>{message}</p>) : hint}
        </div>
      )}
    </div>
  )
}

export function Text({
  value,
  set,
  placeholder,
  ...common
}: Common & { value: string; set: (value: string) => void; placeholder?: string }): JSX.Element {
  return (
    <Field {...common}>
      {(props) => (
        <input
          {...props}
          type="text"
          autocapitalize="none"
          autocomplete="off"
          spellcheck={false}
          value={value}
          placeholder={placeholder ?? ''}
          onInput={(event) => set(event.currentTarget.value)}
        />
      )}
    </Field>
  )
}

/** Most characters of a choice that a column of a form shows whole. */
const SHORT = 22

export function Select<T extends string>({
  value,
  set,
  options,
  ...common
}: Common & { value: T; set: (value: T) => void; options: [T, string][] }): JSX.Element {
  return (
    <Field {...common} wide={options.some(([, text]) => text.length > SHORT)}>
      {(props) => (
        <select {...props} value={value} onChange={(event) => set(event.currentTarget.value as T)}>
          {options.map(([option, text]) => (
            <option key={option} value={option}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  )
}
