//! Reading and writing the VM's memory from a host call.

use crate::State;
use wasmi::{Caller, Error, Memory};

/// The host's side of a call.
pub(crate) type Vm<'a> = Caller<'a, State>;

fn memory(vm: &Vm<'_>) -> Result<Memory, Error> {
    vm.get_export("memory").and_then(wasmi::Extern::into_memory).ok_or_else(|| Error::new("no memory"))
}

/// Bytes that the filter hands over.
pub(crate) fn read(vm: &Vm<'_>, at: u32, length: u32) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; length as usize];
    memory(vm)?.read(vm, at as usize, &mut bytes).map_err(|error| Error::new(error.to_string()))?;
    Ok(bytes)
}

/// Writes where the filter says.
pub(crate) fn write(vm: &mut Vm<'_>, at: u32, bytes: &[u8]) -> Result<(), Error> {
    memory(vm)?.write(vm, at as usize, bytes).map_err(|error| Error::new(error.to_string()))
}

/// Hands bytes over into memory that the filter allocates for them, as Envoy does: none for nothing.
pub(crate) fn hand_over(vm: &mut Vm<'_>, bytes: &[u8], value: u32, length: u32) -> Result<i32, Error> {
    let size = u32::try_from(bytes.len()).map_err(|_| Error::new("too long"))?;
    let mut at = 0;
    if size > 0 {
        vm.data_mut().cost.returning_bytes += 1;
        let allocate = vm.get_export("malloc").and_then(wasmi::Extern::into_func);
        let allocate = allocate.ok_or_else(|| Error::new("no malloc"))?.typed::<u32, u32>(&*vm)?;
        at = allocate.call(&mut *vm, size)?;
        write(vm, at, bytes)?;
    }
    write(vm, value, &at.to_le_bytes())?;
    write(vm, length, &size.to_le_bytes())?;
    Ok(0)
}
