//! The host calls that the filter imports. A call that is missing here fails the tests: the filter asks for more than before.

use crate::memory::{Vm, hand_over, read, write};
use crate::{Call, Headers, State};
use wasmi::{Error, Linker};

const OK: i32 = 0;
const NOT_FOUND: i32 = 1;
const CAS_MISMATCH: i32 = 8;
const SERIALIZATION_FAILURE: i32 = 9;

/// What the filter's two expressions say: whether an ending is plain. Another expression is one this host cannot evaluate.
const PLAIN: &str = "response.flags == 0 && response.code < 500 ? 1 : null";
const PLAIN_GRPC: &str = "response.flags == 0 && response.code < 500 && response.grpc_status == 0 ? 1 : null";

fn count(vm: &mut Vm<'_>, name: &'static str) {
    *vm.data_mut().cost.calls.entry(name).or_default() += 1;
}

fn text(vm: &Vm<'_>, at: u32, length: u32) -> Result<String, Error> {
    String::from_utf8(read(vm, at, length)?).map_err(|error| Error::new(error.to_string()))
}

fn map<'a>(vm: &'a mut Vm<'_>, map: i32) -> Result<&'a mut Headers, Error> {
    match map {
        0 => Ok(&mut vm.data_mut().request),
        2 => Ok(&mut vm.data_mut().response),
        other => Err(Error::new(format!("no header map {other}"))),
    }
}

/// Defines all of them.
pub(crate) fn define(linker: &mut Linker<State>) -> Result<(), Error> {
    headers(linker)?;
    stream(linker)?;
    metrics(linker)?;
    root(linker)?;
    shared(linker)
}

fn headers(linker: &mut Linker<State>) -> Result<(), Error> {
    linker.func_wrap(
        "env",
        "proxy_get_header_map_value",
        |mut vm: Vm<'_>, which: i32, at: u32, size: u32, value: u32, length: u32| {
            count(&mut vm, "get_header_map_value");
            let name = text(&vm, at, size)?;
            if which == 6 {
                let status = vm.data().answer.as_ref().map(|(status, _)| status.to_string());
                return status.map_or(Ok(NOT_FOUND), |status| hand_over(&mut vm, status.as_bytes(), value, length));
            }
            let found = map(&mut vm, which)?.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
            found.map_or(Ok(NOT_FOUND), |bytes| hand_over(&mut vm, &bytes, value, length))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_replace_header_map_value",
        |mut vm: Vm<'_>, which: i32, at: u32, size: u32, value: u32, length: u32| {
            count(&mut vm, "replace_header_map_value");
            let (name, value) = (text(&vm, at, size)?, read(&vm, value, length)?);
            let map = map(&mut vm, which)?;
            map.retain(|(known, _)| *known != name);
            map.push((name, value));
            Ok::<_, Error>(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_add_header_map_value",
        |mut vm: Vm<'_>, which: i32, at: u32, size: u32, value: u32, length: u32| {
            count(&mut vm, "add_header_map_value");
            let (name, value) = (text(&vm, at, size)?, read(&vm, value, length)?);
            map(&mut vm, which)?.push((name, value));
            Ok::<_, Error>(OK)
        },
    )?;
    linker.func_wrap("env", "proxy_remove_header_map_value", |mut vm: Vm<'_>, which: i32, at: u32, size: u32| {
        count(&mut vm, "remove_header_map_value");
        let name = text(&vm, at, size)?;
        map(&mut vm, which)?.retain(|(known, _)| *known != name);
        Ok::<_, Error>(OK)
    })?;
    Ok(())
}

fn stream(linker: &mut Linker<State>) -> Result<(), Error> {
    linker.func_wrap("env", "proxy_get_property", |mut vm: Vm<'_>, at: u32, size: u32, value: u32, length: u32| {
        count(&mut vm, "get_property");
        let ending = vm.data().ending;
        let number = |number: u64| Some(number.to_le_bytes().to_vec());
        let found = match text(&vm, at, size)?.replace('\0', ".").as_str() {
            "response.flags" => number(ending.flags),
            "response.code" => ending.code.and_then(number),
            "response.grpc_status" => ending.grpc.and_then(number),
            "plugin_name" | "plugin_root_id" => Some(b"weir".to_vec()),
            "xds.node.id" => Some(b"node".to_vec()),
            // Envoy joins a header's values.
            other => match other.strip_prefix("response.headers.") {
                Some(name) => {
                    let of_it = vm.data().response.iter().filter(|(known, _)| known == name);
                    let values: Vec<&[u8]> = of_it.map(|(_, value)| value.as_slice()).collect();
                    (!values.is_empty()).then(|| values.join(&b","[..]))
                }
                None => return Err(Error::new(format!("no property {other}"))),
            },
        };
        found.map_or(Ok(NOT_FOUND), |bytes| hand_over(&mut vm, &bytes, value, length))
    })?;
    linker.func_wrap(
        "env",
        "proxy_call_foreign_function",
        |mut vm: Vm<'_>, at: u32, size: u32, argument: u32, argument_size: u32, value: u32, length: u32| {
            count(&mut vm, "call_foreign_function");
            let (name, argument) = (text(&vm, at, size)?, read(&vm, argument, argument_size)?);
            let Some(expressions) = vm.data_mut().expressions.as_mut() else { return Ok(NOT_FOUND) };
            if name == "expr_create" {
                let handle = u32::try_from(expressions.len()).map_err(|_| Error::new("too many expressions"))?;
                expressions.push(String::from_utf8_lossy(&argument).into_owned());
                return hand_over(&mut vm, &handle.to_le_bytes(), value, length);
            }
            let handle = u32::from_le_bytes(argument.try_into().map_err(|_| Error::new("no handle"))?);
            let expression = expressions.get(handle as usize).cloned().unwrap_or_default();
            let ending = vm.data().ending;
            let plain = ending.flags == 0 && ending.code.is_some_and(|code| code < 500);
            let holds = match expression.as_str() {
                PLAIN => plain,
                PLAIN_GRPC => plain && ending.grpc == Some(0),
                other => return Err(Error::new(format!("no expression {other:?}"))),
            };
            if value != 0 || length != 0 {
                return Err(Error::new("a value of an expression is wanted"));
            }
            Ok(if holds { OK } else { SERIALIZATION_FAILURE })
        },
    )?;
    Ok(())
}

/// Metrics are numbered as they are defined, and count nothing.
fn metrics(linker: &mut Linker<State>) -> Result<(), Error> {
    linker.func_wrap(
        "env",
        "proxy_define_metric",
        |mut vm: Vm<'_>, _kind: i32, _at: u32, _size: u32, metric: u32| {
            count(&mut vm, "define_metric");
            write(&mut vm, metric, &1_u32.to_le_bytes()).map(|()| OK)
        },
    )?;
    linker.func_wrap("env", "proxy_increment_metric", |mut vm: Vm<'_>, _metric: u32, _by: i64| {
        count(&mut vm, "increment_metric");
        OK
    })?;
    linker.func_wrap("env", "proxy_record_metric", |mut vm: Vm<'_>, _metric: u32, _value: u64| {
        count(&mut vm, "record_metric");
        OK
    })?;
    Ok(())
}

fn root(linker: &mut Linker<State>) -> Result<(), Error> {
    linker.func_wrap("env", "proxy_log", |mut vm: Vm<'_>, _severity: i32, at: u32, size: u32| {
        count(&mut vm, "log");
        let line = text(&vm, at, size)?;
        vm.data_mut().lines.push(line);
        Ok::<_, Error>(OK)
    })?;
    linker.func_wrap("env", "proxy_set_tick_period_milliseconds", |mut vm: Vm<'_>, _period: u32| {
        count(&mut vm, "set_tick_period");
        OK
    })?;
    linker.func_wrap("env", "proxy_get_current_time_nanoseconds", |mut vm: Vm<'_>, time: u32| {
        count(&mut vm, "get_current_time");
        let now = 1_767_225_600_000_000_000 + vm.data().now;
        write(&mut vm, time, &now.to_le_bytes()).map(|()| OK)
    })?;
    linker.func_wrap(
        "env",
        "proxy_get_buffer_bytes",
        |mut vm: Vm<'_>, buffer: i32, _start: u32, _most: u32, value: u32, length: u32| {
            count(&mut vm, "get_buffer_bytes");
            let bytes = match (buffer, &vm.data().answer) {
                (7, _) => vm.data().configuration.clone(),
                (4, Some((_, body))) => body.clone(),
                (other, _) => return Err(Error::new(format!("no buffer {other}"))),
            };
            hand_over(&mut vm, &bytes, value, length)
        },
    )?;
    #[expect(clippy::too_many_arguments, reason = "Proxy-Wasm's")]
    fn http_call(
        mut vm: Vm<'_>,
        _cluster: u32,
        _cluster_size: u32,
        headers: u32,
        headers_size: u32,
        body: u32,
        body_size: u32,
        _trailers: u32,
        _trailers_size: u32,
        _timeout: u32,
        token: u32,
    ) -> Result<i32, Error> {
        count(&mut vm, "http_call");
        let headers = read(&vm, headers, headers_size)?;
        let path = value_of(&headers, b":path").unwrap_or_default();
        let body = read(&vm, body, body_size)?;
        let state = vm.data_mut();
        state.tokens += 1;
        let call = Call { token: state.tokens, path: String::from_utf8_lossy(path).into_owned(), body };
        let number = call.token;
        state.calls.push(call);
        write(&mut vm, token, &number.to_le_bytes())?;
        Ok(OK)
    }
    linker.func_wrap("env", "proxy_http_call", http_call)?;
    linker.func_wrap("wasi_snapshot_preview1", "clock_time_get", |mut vm: Vm<'_>, _: u32, _: u64, time: u32| {
        count(&mut vm, "clock_time_get");
        let now = vm.data().now;
        write(&mut vm, time, &now.to_le_bytes()).map(|()| OK)
    })?;
    linker.func_wrap("wasi_snapshot_preview1", "random_get", |mut vm: Vm<'_>, at: u32, size: u32| {
        count(&mut vm, "random_get");
        let bytes: Vec<u8> = (0..size).map(|index| (index * 37 + 11) as u8).collect();
        write(&mut vm, at, &bytes).map(|()| OK)
    })?;
    Ok(())
}

/// The value of a name in serialized pairs: their number, the lengths of each, then each followed by a NUL.
fn value_of<'a>(pairs: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let number = |at: usize| Some(u32::from_le_bytes(pairs.get(at..at + 4)?.try_into().ok()?) as usize);
    let count = number(0)?;
    let mut at = 4 + count * 8;
    for pair in 0..count {
        let (key, value) = (number(4 + pair * 8)?, number(8 + pair * 8)?);
        if pairs.get(at..at + key)? == name {
            return pairs.get(at + key + 1..at + key + 1 + value);
        }
        at += key + value + 2;
    }
    None
}

fn shared(linker: &mut Linker<State>) -> Result<(), Error> {
    linker.func_wrap(
        "env",
        "proxy_get_shared_data",
        |mut vm: Vm<'_>, at: u32, size: u32, value: u32, length: u32, version: u32| {
            count(&mut vm, "get_shared_data");
            let key = read(&vm, at, size)?;
            let Some((bytes, number)) = vm.data().shared.get(&key).cloned() else { return Ok(NOT_FOUND) };
            write(&mut vm, version, &number.to_le_bytes())?;
            hand_over(&mut vm, &bytes, value, length)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_shared_data",
        |mut vm: Vm<'_>, at: u32, size: u32, value: u32, length: u32, expected: u32| {
            count(&mut vm, "set_shared_data");
            let (key, bytes) = (read(&vm, at, size)?, read(&vm, value, length)?);
            let state = vm.data_mut();
            let differs = |(_, version): &(Vec<u8>, u32)| expected != 0 && *version != expected;
            if state.shared.get(&key).is_some_and(differs) {
                return Ok(CAS_MISMATCH);
            }
            state.versions += 1;
            state.shared.insert(key, (bytes, state.versions));
            Ok::<_, Error>(OK)
        },
    )?;
    linker.func_wrap("env", "proxy_register_shared_queue", |mut vm: Vm<'_>, _: u32, _: u32, queue: u32| {
        count(&mut vm, "register_shared_queue");
        write(&mut vm, queue, &1_u32.to_le_bytes()).map(|()| OK)
    })?;
    linker.func_wrap("env", "proxy_enqueue_shared_queue", |mut vm: Vm<'_>, _: u32, _: u32, _: u32| {
        count(&mut vm, "enqueue_shared_queue");
        OK
    })?;
    linker.func_wrap("env", "proxy_dequeue_shared_queue", |mut vm: Vm<'_>, _: u32, _: u32, _: u32| {
        count(&mut vm, "dequeue_shared_queue");
        // Nothing is in it.
        7
    })?;
    Ok(())
}
