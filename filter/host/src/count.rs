//! Makes a module count its own instructions: every stretch of code that runs as a whole adds its length to a global first.
//!
//! Exact and the same with any engine. The engine's own metering is not: it charges for a whole body when it is entered,
//! branches taken or not. `block`, `loop`, `else` and `end` only mark places and do not count.

use anyhow::Context;
use wasmparser::{BinaryReader, FunctionBody, Operator, Parser, Payload};

/// The exported global with the count.
pub(crate) const GLOBAL: &str = "instructions";

/// The same module, counting.
pub(crate) fn counting(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut counting = module.get(..8).context("a header")?.to_vec();
    let mut global = 0;
    let mut code = Vec::new();
    let mut bodies = 0;
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::GlobalSection(reader) => {
                global = reader.count();
                let body = module.get(reader.range()).context("globals")?;
                // A mutable i64 that begins at 0.
                append(&mut counting, 6, global, body, &[0x7e, 1, 0x42, 0, 0x0b])?;
            }
            Payload::ExportSection(reader) => {
                let mut entry = Vec::new();
                leb(&mut entry, GLOBAL.len() as u64);
                entry.extend(GLOBAL.as_bytes());
                entry.push(3);
                leb(&mut entry, u64::from(global));
                append(&mut counting, 7, reader.count(), module.get(reader.range()).context("exports")?, &entry)?;
            }
            Payload::CodeSectionStart { count, .. } => {
                bodies = count;
                leb(&mut code, u64::from(count));
            }
            Payload::CodeSectionEntry(body) => {
                let body = function(module, &body, global)?;
                leb(&mut code, body.len() as u64);
                code.extend(body);
                bodies -= 1;
                if bodies == 0 {
                    section(&mut counting, 10, &code);
                }
            }
            other => {
                if let Some((id, range)) = other.as_section() {
                    section(&mut counting, id, module.get(range).context("a section")?);
                }
            }
        }
    }
    Ok(counting)
}

/// A section of a count and as many entries, with one entry more.
fn append(module: &mut Vec<u8>, id: u8, count: u32, section_body: &[u8], entry: &[u8]) -> anyhow::Result<()> {
    let mut reader = BinaryReader::new(section_body, 0);
    reader.read_var_u32()?;
    let mut body = Vec::new();
    leb(&mut body, u64::from(count) + 1);
    body.extend(section_body.get(reader.original_position()..).context("entries")?);
    body.extend(entry);
    section(module, id, &body);
    Ok(())
}

fn section(module: &mut Vec<u8>, id: u8, body: &[u8]) {
    module.push(id);
    leb(module, body.len() as u64);
    module.extend(body);
}

fn function(module: &[u8], body: &FunctionBody<'_>, global: u32) -> anyhow::Result<Vec<u8>> {
    let mut operators = body.get_operators_reader()?;
    let locals = body.range().start..operators.original_position();
    let mut run = Run { code: module.get(locals).context("locals")?.to_vec(), pending: Vec::new(), count: 0, global };
    while !operators.eof() {
        let begin = operators.original_position();
        let operator = operators.read()?;
        let bytes = module.get(begin..operators.original_position()).context("an operator")?;
        match operator {
            // What is before ends here, and what comes after begins anew, be it by a branch.
            Operator::Loop { .. } | Operator::Else | Operator::End => {
                run.flush();
                run.code.extend(bytes);
            }
            Operator::Block { .. } => run.pending.extend(bytes),
            _ => {
                run.pending.extend(bytes);
                run.count += 1;
                if matches!(
                    operator,
                    Operator::If { .. }
                        | Operator::Br { .. }
                        | Operator::BrIf { .. }
                        | Operator::BrTable { .. }
                        | Operator::Return
                        | Operator::Unreachable
                ) {
                    run.flush();
                }
            }
        }
    }
    Ok(run.code)
}

/// Code, and the stretch of it that is being read.
struct Run {
    code: Vec<u8>,
    pending: Vec<u8>,
    count: u64,
    global: u32,
}

impl Run {
    fn flush(&mut self) {
        if self.count > 0 {
            self.code.push(0x23); // global.get
            leb(&mut self.code, u64::from(self.global));
            self.code.push(0x42); // i64.const
            signed_leb(&mut self.code, self.count);
            self.code.push(0x7c); // i64.add
            self.code.push(0x24); // global.set
            leb(&mut self.code, u64::from(self.global));
        }
        self.count = 0;
        self.code.append(&mut self.pending);
    }
}

fn leb(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// A number that is not negative, as one that might be: its sixth bit is a sign.
fn signed_leb(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x40 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use wasmi::{Engine, Linker, Module, Store};

    /// `(func (export "f") (param i32) (result i32) …)` that adds `n` to itself `n` times over by a loop:
    /// `block (loop (br_if 1 (i32.eqz n)) (sum += n) (n -= 1) (br 0)) end sum`.
    fn module() -> Vec<u8> {
        let body = [
            1, 1, 0x7f, // one local: the sum
            0x02, 0x40, 0x03, 0x40, // block loop
            0x20, 0, 0x45, 0x0d, 1, // local.get 0, i32.eqz, br_if 1: 3
            0x20, 1, 0x20, 0, 0x6a, 0x21, 1, // get, get, add, set: 4
            0x20, 0, 0x41, 1, 0x6b, 0x21, 0, // get, const, sub, set: 4
            0x0c, 0, 0x0b, 0x0b, // br 0: 1; end end
            0x20, 1, 0x0b, // local.get: 1; end
        ];
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        section(&mut module, 1, &[1, 0x60, 1, 0x7f, 1, 0x7f]);
        section(&mut module, 3, &[1, 0]);
        section(&mut module, 6, &[1, 0x7f, 0, 0x41, 5, 0x0b]);
        section(&mut module, 7, &[1, 1, b'f', 0, 0]);
        let mut code = vec![1, body.len() as u8];
        code.extend(body);
        section(&mut module, 10, &code);
        module
    }

    #[test]
    fn what_runs_is_counted_and_nothing_else() {
        let engine = Engine::default();
        let module = Module::new(&engine, counting(&module()).unwrap()).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine).instantiate_and_start(&mut store, &module).unwrap();
        let f = instance.get_typed_func::<i32, i32>(&store, "f").unwrap();
        let mut before = 0;
        for (n, sum) in [(0, 0), (1, 1), (10, 55)] {
            assert_eq!(f.call(&mut store, n).unwrap(), sum);
            let count = instance.get_global(&store, GLOBAL).unwrap().get(&store).i64().unwrap();
            assert_eq!(count - before, 12 * i64::from(n) + 4);
            before = count;
        }
    }

    #[test]
    fn long_numbers_are_written_as_wasm_reads_them() {
        for (number, plain, signed) in [
            (63, &[63][..], &[63][..]),
            (64, &[64], &[0xc0, 0]),
            (200, &[0xc8, 1], &[0xc8, 1]),
            (8_192, &[0x80, 0x40], &[0x80, 0xc0, 0]),
        ] {
            let (mut one, mut two) = (Vec::new(), Vec::new());
            leb(&mut one, number);
            signed_leb(&mut two, number);
            assert_eq!((one.as_slice(), two.as_slice()), (plain, signed));
        }
    }
}
