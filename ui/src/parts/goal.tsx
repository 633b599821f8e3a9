// The form's part about what to gain: where a reward comes from, and what of it counts.

import type { JSX } from 'preact'
import { Select, Text, at } from './field'
import type { Part } from './more'

export function Goal({ form, put, problems }: Part): JSX.Element {
  const of = (field: string) => at(problems, `spec.reward.${field}`)
  return (
    <fieldset>
      <legend>What to gain</legend>
      <Select
        label="Reward"
        value={form.reward}
        set={(reward) => put({ reward })}
        options={[
          ['none', 'none'],
          ['header', 'a response header of the versions'],
          ['request', 'a later request of the same user: a conversion'],
          ['api', 'reported to the API, by whoever learns of it'],
        ]}
        problems={at(problems, 'spec.reward').filter(({ path }) => path === 'spec.reward' || form.reward === 'none')}
      />
      {form.reward === 'header' && (
        <Text
          label="Header"
          value={form.rewardHeader}
          set={(rewardHeader) => put({ rewardHeader })}
          problems={of('responseHeader')}
          hint="Removed before the client sees it"
        />
      )}
      {form.reward === 'api' && (
        <Text
          label="Request header with the token"
          value={form.apiHeader}
          set={(apiHeader) => put({ apiHeader })}
          placeholder="x-weir-assignment"
          problems={of('api')}
          hint="By which the version, or whoever it tells, reports the reward"
        />
      )}
      {form.reward === 'request' && (
        <>
          <div class="row">
            <Text
              label="Its method"
              value={form.rewardMethod}
              set={(rewardMethod) => put({ rewardMethod })}
              problems={of('request.method')}
            />
            <Select
              label="Its path"
              value={form.rewardPathKind}
              set={(rewardPathKind) => put({ rewardPathKind })}
              options={[
                ['exact', 'is'],
                ['prefix', 'begins with'],
              ]}
              problems={[]}
            />
            <Text
              label="Path of the conversion"
              value={form.rewardPath}
              set={(rewardPath) => put({ rewardPath })}
              problems={of('request.path')}
            />
          </div>
          <Text
            label="Status of its response"
            value={form.rewardStatus}
            set={(rewardStatus) => put({ rewardStatus })}
            placeholder="200-299"
            problems={of('request.status')}
          />
          <Text
            label="Response header with how large it is"
            value={form.rewardValue}
            set={(rewardValue) => put({ rewardValue })}
            placeholder="none: each is 1"
            problems={of('request.responseHeader')}
          />
          <PlainHttp form={form} put={put} problems={problems} />
        </>
      )}
      {form.reward !== 'none' && (
        <>
          <Select
            label="What counts"
            value={form.rewardKind}
            set={(rewardKind) => put({ rewardKind })}
            options={[
              ['binary', 'whether there was one'],
              ['real', 'how large it was'],
            ]}
            problems={of('kind')}
          />
          <Select
            label="Better is"
            value={form.rewardDirection}
            set={(rewardDirection) => put({ rewardDirection })}
            options={[
              ['maximize', 'more'],
              ['minimize', 'less'],
            ]}
            problems={of('direction')}
          />
        </>
      )}
    </fieldset>
  )
}

/** One tick for the cookies of both: that of the unit, and that of a conversion. */
export function PlainHttp({ form, put }: Part): JSX.Element {
  return (
    <label class="choice">
      <input
        type="checkbox"
        checked={form.plainHttp}
        onChange={(event) => put({ plainHttp: event.currentTarget.checked })}
      />{' '}
      Browsers come over plain HTTP: cookies are not <code>Secure</code>
    </label>
  )
}
