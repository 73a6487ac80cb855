//! Small functions of the library.
#![forbid(unsafe_code)]

use std::io::Write;
use std::sync::atomic::Ordering;

use super::object::{self, bytes};
use super::{Ctx, Vm};

/// Writes to the standard output; who reads it may have gone.
pub(super) fn write_out(text: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _gone = out.write_all(text);
}

fn write_error(text: &[u8]) {
    let _gone = std::io::stderr().write_all(text);
}

impl Vm {
    /// Ends the process.
    pub(super) fn exit(&self, code: i32) -> ! {
        let _gone = std::io::stdout().flush();
        if self.stats {
            let stats = self.runtime.stats();
            let refills = object::REFILLS.load(Ordering::Relaxed);
            eprintln!("{stats:#?}\nrefills of windows: {refills}");
            if let Some(calls) = self.finalize.calls_by_go() {
                eprintln!("calls by Go's ABI: {calls}");
            }
        }
        std::process::exit(code)
    }
}

pub(super) extern "C" fn print_text(_: &mut Ctx, at: u64, length: u64) -> u64 {
    write_error(bytes(at, length));
    0
}

pub(super) extern "C" fn print_bool(_: &mut Ctx, value: u64) -> u64 {
    write_error(if value == 0 { b"false" } else { b"true" });
    0
}

pub(super) extern "C" fn print_int(_: &mut Ctx, value: u64) -> u64 {
    write_error((value as i64).to_string().as_bytes());
    0
}

pub(super) extern "C" fn print_uint(_: &mut Ctx, value: u64) -> u64 {
    write_error(value.to_string().as_bytes());
    0
}

pub(super) extern "C" fn print_float(_: &mut Ctx, bits: u64) -> u64 {
    let text = super::show::exponent(f64::from_bits(bits), 6, 3);
    let sign = if text.starts_with('-') { "" } else { "+" };
    write_error(format!("{sign}{text}").as_bytes());
    0
}

pub(super) extern "C" fn exit(ctx: &mut Ctx, code: u64) -> u64 {
    ctx.vm.exit(code as i32)
}

/// Nanoseconds of the clock.
pub(super) extern "C" fn now(_: &mut Ctx) -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed();
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// Bytes in objects, objects, collections.
pub(super) extern "C" fn mem_stats(ctx: &mut Ctx) -> u64 {
    let heap = ctx.vm.runtime.stats().heap;
    ctx.results[0] = heap.live_bytes as u64;
    ctx.results[1] = heap.objects as u64;
    ctx.results[2] = heap.collections;
    0
}
